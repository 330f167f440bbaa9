//! The measured numbers.

use crate::contender::Contender;
use serde::Serialize;

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) row: &'static str,
    pub(crate) line: String,
    pub(crate) contender: Contender,
    pub(crate) x: u32,
    pub(crate) value: f64,
}

impl Figure {
    /// Whether `other` is the same measurement, of any round.
    fn repeats(&self, other: &Self) -> bool {
        (&self.row, &self.line, self.contender, self.x)
            == (&other.row, &other.line, other.contender, other.x)
    }
}

/// Every number of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures(Vec<Figure>);

impl Figures {
    pub(crate) fn push(&mut self, figure: Figure) {
        self.0.push(figure);
    }

    /// One number for each measurement, from its quietest round.
    pub(crate) fn merged(self) -> Self {
        let mut merged: Vec<Figure> = Vec::new();
        for figure in &self.0 {
            if merged.iter().any(|other| other.repeats(figure)) {
                continue;
            }
            let rounds = self.0.iter().filter(|other| other.repeats(figure));
            let value = rounds
                .map(|other| other.value)
                .fold(f64::INFINITY, f64::min);
            merged.push(Figure {
                value,
                ..figure.clone()
            });
        }
        Self(merged)
    }

    /// The sizes and numbers of one line of one contender, in rising order of size.
    pub(crate) fn curve(&self, row: &str, line: &str, contender: Contender) -> Vec<(u32, f64)> {
        let wanted = |figure: &&Figure| {
            figure.row == row && figure.line == line && figure.contender == contender
        };
        let points = self.0.iter().filter(wanted);
        let mut points: Vec<_> = points.map(|figure| (figure.x, figure.value)).collect();
        points.sort_unstable_by_key(|&(x, _)| x);
        points
    }

    /// The number of the smallest size.
    pub(crate) fn first(&self, row: &str, line: &str, contender: Contender) -> Option<f64> {
        Some(self.curve(row, line, contender).first()?.1)
    }

    /// The number of the largest size.
    pub(crate) fn last(&self, row: &str, line: &str, contender: Contender) -> Option<f64> {
        Some(self.curve(row, line, contender).last()?.1)
    }

    /// The largest number of any size.
    pub(crate) fn worst(&self, row: &str, line: &str, contender: Contender) -> Option<f64> {
        let curve = self.curve(row, line, contender);
        curve.into_iter().map(|(_, value)| value).reduce(f64::max)
    }

    /// The number of the smallest size, divided by that of the largest.
    pub(crate) fn speedup(&self, row: &str, line: &str, contender: Contender) -> Option<f64> {
        Some(self.first(row, line, contender)? / self.last(row, line, contender)?)
    }

    /// The number of the largest size, divided by that of the smallest.
    pub(crate) fn growth(&self, row: &str, line: &str, contender: Contender) -> Option<f64> {
        Some(self.last(row, line, contender)? / self.first(row, line, contender)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, Figures};
    use crate::contender::Contender::{Drc, Ours};

    #[test]
    fn the_quietest_round_counts() {
        let mut figures = Figures::default();
        for value in [3.0, 9.0, 2.0] {
            figures.push(Figure {
                row: "W4",
                line: String::new(),
                contender: Ours,
                x: 0,
                value,
            });
        }
        assert_eq!(figures.merged().curve("W4", "", Ours), [(0, 2.0)]);
    }

    #[test]
    fn curves_are_found_and_sorted() {
        let mut figures = Figures::default();
        for (x, value) in [(100, 3.0), (1, 2.0), (10, 5.0)] {
            figures.push(Figure {
                row: "W8",
                line: "none".into(),
                contender: Ours,
                x,
                value,
            });
        }
        assert_eq!(figures.curve("W8", "none", Ours)[0], (1, 2.0));
        assert_eq!(figures.worst("W8", "none", Ours), Some(5.0));
        assert_eq!(figures.growth("W8", "none", Ours), Some(1.5));
        assert_eq!(figures.speedup("W8", "none", Ours), Some(2.0 / 3.0));
        assert_eq!(figures.first("W8", "none", Drc), None);
    }
}
