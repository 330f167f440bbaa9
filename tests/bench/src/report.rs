//! The table for people and the figures for programs.

use crate::contender::Contender::{self, Ours};
use crate::figures::Figures;
use crate::goals::{Goal, LINES, Line};
use serde::Serialize;

/// The table as text; lines of rows that were not measured are left out.
pub(crate) fn table(figures: &Figures) -> String {
    let mut text = String::new();
    let header = [
        "row", "what", "unit", "ours", "goal", "met", "ratio", "peers",
    ];
    append(&mut text, &header.map(str::to_owned));
    for line in LINES {
        if let Some(cells) = cells(line, figures) {
            append(&mut text, &cells);
        }
    }
    text
}

fn append(text: &mut String, cells: &[String; 8]) {
    let [row, what, unit, ours, goal, met, ratio, peers] = cells;
    let line =
        format!("{row:<4} {what:<43} {unit:<8} {ours:>8}  {goal:<28} {met:<4} {ratio:>7}  {peers}");
    text.push_str(line.trim_end());
    text.push('\n');
}

fn cells(line: &Line, figures: &Figures) -> Option<[String; 8]> {
    let ours = (line.value)(figures, Ours);
    let value = |peer: &Contender| (line.value)(figures, *peer);
    if ours.is_none() && line.peers.iter().all(|peer| value(peer).is_none()) {
        return None;
    }
    let ratios = line.peers.iter().filter_map(value);
    let ratios = ratios.filter_map(|theirs| Some(line.goal.ratio(ours?, theirs)));
    let ratio = ratios
        .filter(|ratio| ratio.is_finite() && *ratio > 0.0)
        .reduce(f64::min);
    let met = ours.and_then(|ours| line.goal.is_met(figures, ours));
    let peers: Vec<_> = line
        .peers
        .iter()
        .map(|&peer| peer_cell(line, figures, peer))
        .collect();
    Some([
        line.row.to_owned(),
        line.what.to_owned(),
        line.unit.to_owned(),
        ours.map_or("-".into(), number),
        goal(line, figures),
        met.map_or("-", |met| if met { "yes" } else { "NO" })
            .to_owned(),
        ratio.map_or("-".into(), |ratio| format!("{ratio:.2}x")),
        peers.join(", "),
    ])
}

fn peer_cell(line: &Line, figures: &Figures, peer: Contender) -> String {
    match (line.value)(figures, peer) {
        Some(value) => format!("{peer} {}", number(value)),
        None if peer.is_compiled_in() => format!("{peer} -"),
        None => format!("{peer} not compiled in"),
    }
}

fn goal(line: &Line, figures: &Figures) -> String {
    let sign = match line.goal {
        Goal::AtMost(_) => "<=",
        Goal::AtLeast(_) => ">=",
        Goal::Nothing => return line.why.to_owned(),
    };
    match line.goal.limit(figures) {
        Some(limit) if line.why.is_empty() => format!("{sign} {}", number(limit)),
        Some(limit) => format!("{sign} {} ({})", number(limit), line.why),
        None => line.why.to_owned(),
    }
}

/// A number with three digits or so.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Every figure, and the lines of the table, as JSON.
pub(crate) fn json(figures: &Figures) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Report<'f> {
        figures: &'f Figures,
        lines: Vec<JsonLine>,
    }
    serde_json::to_string_pretty(&Report {
        figures,
        lines: LINES
            .iter()
            .filter_map(|line| json_line(line, figures))
            .collect(),
    })
}

/// A line of the table, without its peers.
#[derive(Serialize)]
struct JsonLine {
    row: &'static str,
    what: &'static str,
    unit: &'static str,
    ours: f64,
    goal: Option<f64>,
    met: Option<bool>,
}

fn json_line(line: &Line, figures: &Figures) -> Option<JsonLine> {
    let ours = (line.value)(figures, Ours)?;
    Some(JsonLine {
        row: line.row,
        what: line.what,
        unit: line.unit,
        ours,
        goal: line.goal.limit(figures),
        met: line.goal.is_met(figures, ours),
    })
}

#[cfg(test)]
mod tests {
    use super::{json, number, table};
    use crate::contender::Contender::{Drc, Ours};
    use crate::figures::{Figure, Figures};

    fn figures() -> Figures {
        let mut figures = Figures::default();
        for (contender, value) in [(Ours, 1.25), (Drc, 5.0)] {
            figures.push(Figure {
                row: "W4",
                line: String::new(),
                contender,
                x: 0,
                value,
            });
        }
        figures
    }

    #[test]
    fn a_line_says_whether_its_goal_is_met() {
        let table = table(&figures());
        let line = table.lines().nth(1).unwrap();
        for part in ["W4", "1.25", "<= 1.50", "yes", "4.00x", "DRC 5.00"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert_eq!(table.lines().count(), 2, "{table}");
    }

    #[test]
    fn a_line_says_why_a_peer_is_missing() {
        let table = table(&figures());
        assert_eq!(table.contains("copying -"), cfg!(feature = "wasmtime"));
        assert_ne!(
            table.contains("copying not compiled in"),
            cfg!(feature = "wasmtime")
        );
    }

    #[test]
    fn the_json_has_figures_and_lines() {
        let json = json(&figures()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["figures"][1]["contender"], "DRC");
        assert_eq!(json["figures"][1]["value"], 5.0);
        assert_eq!(json["lines"][0]["goal"], 1.5);
        assert_eq!(json["lines"][0]["met"], true);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            ["1.23", "12.3", "123"].map(str::to_owned),
            [1.234, 12.34, 123.4].map(number)
        );
    }
}
