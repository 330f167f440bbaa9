//! Curves over sizes, on logarithmic axes.

use crate::contender::Contender::{self, BTree, Backtrace, Copying, Drc, Floor, Ours};
use crate::engine::Failure;
use crate::figures::Figures;
use plotters::prelude::*;
use std::path::Path;

/// One drawing.
struct Drawing {
    file: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    row: &'static str,
    line: &'static str,
}

const DRAWINGS: &[Drawing] = &[
    Drawing {
        file: "w3b.svg",
        title: "table.get into a local",
        x: "references in the table",
        y: "ns per table.get",
        row: "W3b",
        line: "",
    },
    Drawing {
        file: "w7.svg",
        title: "One collection, 4 references a frame",
        x: "frames on the stack",
        y: "ns per frame",
        row: "W7",
        line: "4",
    },
    Drawing {
        file: "w8.svg",
        title: "Make and drop a reference below a recursion",
        x: "frames on the stack",
        y: "ns per reference",
        row: "W8",
        line: "none",
    },
    Drawing {
        file: "w10.svg",
        title: "Make and drop a reference beside others",
        x: "references in an unrelated table",
        y: "ns per reference",
        row: "W10",
        line: "",
    },
    Drawing {
        file: "w16.svg",
        title: "Register and unregister a module among others",
        x: "registered modules",
        y: "µs per module",
        row: "W16",
        line: "",
    },
    Drawing {
        file: "w19.svg",
        title: "One collection below frames of the host",
        x: "host frames on the stack",
        y: "ns per collection",
        row: "W19",
        line: "",
    },
];

/// The contenders with a curve, their colours and their names.
const LINES: [(Contender, RGBColor, &str); 6] = [
    (Ours, RGBColor(200, 30, 30), "vmexternref"),
    (Drc, RGBColor(30, 90, 180), "Wasmtime, DRC"),
    (Copying, RGBColor(30, 140, 70), "Wasmtime, copying"),
    (BTree, RGBColor(30, 90, 180), "B-tree"),
    (Backtrace, RGBColor(150, 90, 20), "backtrace to the end"),
    (Floor, RGBColor(120, 120, 120), "floor"),
];

/// Draws every curve that was measured into `folder`.
pub(crate) fn draw(figures: &Figures, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for drawing in DRAWINGS {
        let curves: Vec<_> = LINES
            .iter()
            .map(|line| (line, figures.curve(drawing.row, drawing.line, line.0)))
            .filter(|(_, points)| points.len() > 1)
            .collect();
        if !curves.is_empty() {
            drawing.draw(&folder.join(drawing.file), &curves)?;
        }
    }
    Ok(())
}

type Curve<'a> = (&'a (Contender, RGBColor, &'a str), Vec<(u32, f64)>);

impl Drawing {
    fn draw(&self, path: &Path, curves: &[Curve<'_>]) -> Result<(), Failure> {
        let points = || curves.iter().flat_map(|(_, points)| points.iter().copied());
        let x_end = points().map(|(x, _)| f64::from(x)).fold(10.0, f64::max);
        let y_start = points().map(|(_, y)| y).fold(f64::MAX, f64::min);
        let y_end = points().map(|(_, y)| y).fold(1.0, f64::max);
        let root = SVGBackend::new(path, (720, 420)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 20))
            .margin(14)
            .margin_right(32)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(
                (1.0..x_end).log_scale(),
                (y_start / 2.0..y_end * 2.0).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y}"))
            .light_line_style(WHITE)
            .draw()?;
        for ((_, colour, name), points) in curves {
            let style = colour.stroke_width(2);
            let points = points.iter().map(|&(x, y)| (f64::from(x), y));
            let series = LineSeries::new(points, style).point_size(3);
            chart
                .draw_series(series)?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(RGBColor(160, 160, 160))
            .draw()?;
        root.present()?;
        Ok(())
    }
}
