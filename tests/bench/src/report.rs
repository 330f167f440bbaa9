//! The table for people and the figures for programs.

use crate::contender::Contender::Ours;
use crate::figures::Figures;
use crate::goals::{Goal, LINES, Line};
use core::fmt::Write;

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
    let peers: Vec<_> = line
        .peers
        .iter()
        .filter_map(|&peer| Some((peer, (line.value)(figures, peer)?)))
        .collect();
    if ours.is_none() && peers.is_empty() {
        return None;
    }
    let ratios = peers
        .iter()
        .filter_map(|&(_, value)| Some(line.goal.ratio(ours?, value)))
        .filter(|ratio| ratio.is_finite() && *ratio > 0.0);
    let ratio = ratios.reduce(f64::min);
    let met = ours.and_then(|ours| line.goal.is_met(figures, ours));
    let names = peers
        .iter()
        .map(|(peer, value)| format!("{peer} {}", number(*value)));
    Some([
        line.row.to_owned(),
        line.what.to_owned(),
        line.unit.to_owned(),
        ours.map_or("-".into(), number),
        goal(line, figures),
        met.map_or("-", |met| if met { "yes" } else { "NO" })
            .to_owned(),
        ratio.map_or("-".into(), |ratio| format!("{ratio:.2}x")),
        names.collect::<Vec<_>>().join(", "),
    ])
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

/// Every figure as one JSON array of objects, and the lines of the table.
pub(crate) fn json(figures: &Figures) -> String {
    let mut text = String::from("{\n  \"figures\": [\n");
    let each = figures.iter().map(|figure| {
        format!(
            "    {{\"row\": \"{}\", \"line\": \"{}\", \"contender\": \"{}\", \"x\": {}, \"value\": {}}}",
            figure.row, figure.line, figure.contender, figure.x, json_number(figure.value)
        )
    });
    text.push_str(&each.collect::<Vec<_>>().join(",\n"));
    text.push_str("\n  ],\n  \"lines\": [\n");
    let lines = LINES.iter().filter_map(|line| json_line(line, figures));
    text.push_str(&lines.collect::<Vec<_>>().join(",\n"));
    text.push_str("\n  ]\n}\n");
    text
}

fn json_line(line: &Line, figures: &Figures) -> Option<String> {
    let ours = (line.value)(figures, Ours)?;
    let mut text = format!(
        "    {{\"row\": \"{}\", \"what\": \"{}\", \"unit\": \"{}\", \"ours\": {}",
        line.row,
        line.what,
        line.unit,
        json_number(ours)
    );
    if let Some(limit) = line.goal.limit(figures) {
        let met = line.goal.is_met(figures, ours) == Some(true);
        write!(text, ", \"goal\": {}, \"met\": {met}", json_number(limit)).ok()?;
    }
    text.push('}');
    Some(text)
}

/// JSON knows no infinity.
fn json_number(value: f64) -> String {
    if value.is_finite() {
        format!("{value}")
    } else {
        String::from("null")
    }
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
                row: "W4".into(),
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
    fn the_json_has_figures_and_lines() {
        let json = json(&figures());
        assert!(
            json.contains(r#""contender": "DRC", "x": 0, "value": 5}"#),
            "{json}"
        );
        assert!(json.contains(r#""goal": 1.5, "met": true}"#), "{json}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            ["1.23", "12.3", "123"].map(str::to_owned),
            [1.234, 12.34, 123.4].map(number)
        );
    }
}
