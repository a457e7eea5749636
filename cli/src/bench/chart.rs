//! A picture of throughput against latency, as SVG.
//!
//! Contract: one self-contained picture that reads in light and in dark (the viewer's setting decides), in print and
//! without colours: lines differ in their marks too. Throughput is to the right, from 0, evenly; latency is upwards, by
//! powers of ten. Both axes have their units. No text reaches the picture unescaped.
#![expect(clippy::float_arithmetic, reason = "places in a picture")]

use std::fmt::Write as _;

use super::report::grouped;

/// The picture's size, and the frame that the lines are in: left, top, right, bottom.
const SIZE: (u32, u32) = (760, 460);
const FRAME: (f64, f64, f64, f64) = (86.0, 72.0, 730.0, 400.0);
/// About as many marks on the throughput axis.
const X_MARKS: u64 = 6;

const STYLE: &str = "\
.paper{fill:#ffffff}.ink{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d1d9e0;stroke-width:1}\
.axis{stroke:#59636e;stroke-width:1}.line{fill:none;stroke-width:2}\
.s0{stroke:#0550ae}.f0{fill:#0550ae}.s1{stroke:#b3400b}.f1{fill:#b3400b}\
@media (prefers-color-scheme: dark){.paper{fill:#0d1117}.ink{fill:#f0f6fc}.soft{fill:#9198a1}.grid{stroke:#30363d}\
.axis{stroke:#9198a1}.s0{stroke:#79c0ff}.f0{fill:#79c0ff}.s1{stroke:#ffa657}.f1{fill:#ffa657}}";

/// A picture.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    /// What it is of.
    pub(super) title: String,
    /// How it was measured.
    pub(super) subtitle: String,
    /// What is to the right, with its unit.
    pub(super) x_label: String,
    /// What is upwards.
    pub(super) y_label: String,
    /// The lines, at most two.
    pub(super) series: Vec<Series>,
}

/// A line.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// What it is called.
    pub(super) name: String,
    /// Its points, in the order in which they are joined.
    pub(super) points: Vec<Point>,
}

/// A point.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// How far to the right.
    pub(super) x: u64,
    /// How far upwards, microseconds.
    pub(super) y_us: u64,
    /// What is written beside it.
    pub(super) label: Option<String>,
}

/// From figures to places.
struct Scale {
    /// Where the throughput axis ends, and the distance of its marks.
    x_end: u64,
    x_step: u64,
    /// The powers of ten of a microsecond at which the latency axis begins and ends.
    y_from: u32,
    y_to: u32,
}

impl Chart {
    /// The picture.
    pub(super) fn svg(&self) -> String {
        let scale = Scale::of(self.series.iter().flat_map(|series| &series.points));
        let (width, height) = SIZE;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"12\" role=\"img\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n",
            escaped(&self.title)
        );
        text(&mut svg, (FRAME.0, 28.0), "ink", "start", "font-size=\"16\" font-weight=\"600\"", &self.title);
        text(&mut svg, (FRAME.0, 48.0), "soft", "start", "", &self.subtitle);
        self.axes(&mut svg, &scale);
        for (number, series) in self.series.iter().enumerate() {
            series.draw(&mut svg, &scale, number);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, scale: &Scale) {
        let (left, top, right, bottom) = FRAME;
        for mark in (0..=scale.x_end).step_by(usize::try_from(scale.x_step).unwrap_or(usize::MAX)) {
            let x = scale.x(mark);
            line(svg, "grid", (x, top), (x, bottom));
            text(svg, (x, bottom + 18.0), "soft", "middle", "", &grouped(&mark.to_string()));
        }
        for power in scale.y_from..=scale.y_to {
            for digit in [1, 2, 5] {
                let mark = 10_u64.saturating_pow(power).saturating_mul(digit);
                if digit > 1 && power == scale.y_to {
                    continue;
                }
                let y = scale.y(mark);
                line(svg, "grid", (left, y), (right, y));
                text(svg, (left - 8.0, y + 4.0), "soft", "end", "", &time(mark));
            }
        }
        line(svg, "axis", (left, bottom), (right, bottom));
        line(svg, "axis", (left, top), (left, bottom));
        text(svg, ((left + right) / 2.0, bottom + 42.0), "ink", "middle", "", &self.x_label);
        let y = (top + bottom) / 2.0;
        let turned = format!("transform=\"rotate(-90 18 {y})\"");
        text(svg, (18.0, y), "ink", "middle", &turned, &self.y_label);
    }
}

impl Series {
    fn draw(&self, svg: &mut String, scale: &Scale, number: usize) {
        let at = |point: &Point| (scale.x(point.x), scale.y(point.y_us));
        let path: Vec<String> = self.points.iter().map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        put(svg, format_args!("<polyline class=\"line s{number}\" points=\"{}\"/>\n", path.join(" ")));
        for point in &self.points {
            let (x, y) = at(point);
            match number {
                0 => put(
                    svg,
                    format_args!("<circle class=\"f{number}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\n"),
                ),
                _ => put(
                    svg,
                    format_args!(
                        "<rect class=\"f{number}\" x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"/>\n",
                        x - 4.0,
                        y - 4.0
                    ),
                ),
            }
            if let Some(label) = &point.label {
                // Below the point, where no axis is.
                let below = if y + 22.0 > FRAME.3 { y - 10.0 } else { y + 18.0 };
                text(svg, (x, below), "soft", "middle", "font-size=\"11\"", label);
            }
        }
        if let Some(last) = self.points.last() {
            let (x, y) = at(last);
            // Beside the line's end, and never outside of the picture.
            let (x, anchor) = if x > FRAME.2 - 40.0 { (x - 10.0, "end") } else { (x + 10.0, "start") };
            text(svg, (x, y - 8.0), &format!("f{number}"), anchor, "font-weight=\"600\"", &self.name);
        }
    }
}

impl Scale {
    fn of<'a>(points: impl Iterator<Item = &'a Point>) -> Self {
        let (mut x, mut low, mut high) = (1, u64::MAX, 1);
        for point in points {
            x = x.max(point.x);
            (low, high) = (low.min(point.y_us.max(1)), high.max(point.y_us));
        }
        let y_from = low.min(high).ilog10();
        let y_to = (high.saturating_sub(1).max(1).ilog10() + 1).max(y_from + 1);
        let x_step = step(x);
        Self { x_end: x.div_ceil(x_step).saturating_mul(x_step), x_step, y_from, y_to }
    }

    fn x(&self, value: u64) -> f64 {
        FRAME.0 + real(value) / real(self.x_end) * (FRAME.2 - FRAME.0)
    }

    fn y(&self, micros: u64) -> f64 {
        let (from, to) = (f64::from(self.y_from), f64::from(self.y_to));
        FRAME.3 - (real(micros.max(1)).log10() - from) / (to - from) * (FRAME.3 - FRAME.1)
    }
}

/// A round distance of about so many marks up to `end`: 1, 2 or 5 times a power of ten.
fn step(end: u64) -> u64 {
    let rough = end.div_ceil(X_MARKS).max(1);
    let power = 10_u64.pow(rough.ilog10());
    [1, 2, 5, 10]
        .into_iter()
        .map(|digit| power.saturating_mul(digit))
        .find(|step| *step >= rough)
        .unwrap_or(rough)
}

const fn real(number: u64) -> f64 {
    number as f64
}

/// A round time: `500 µs`, `2 ms`, `1 s`.
fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    put(
        svg,
        format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
        ),
    );
}

fn text(svg: &mut String, at: (f64, f64), class: &str, anchor: &str, more: &str, words: &str) {
    let ((x, y), words) = (at, escaped(words));
    put(
        svg,
        format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{words}</text>\n"
        ),
    );
}

fn put(svg: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    svg.write_fmt(element).ok();
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: u64, y_us: u64, label: &str) -> Point {
        Point { x, y_us, label: Some(label.to_owned()).filter(|label| !label.is_empty()) }
    }

    fn chart() -> Chart {
        Chart {
            title: "put <certified> & \"verified\"".to_owned(),
            subtitle: "256-byte values".to_owned(),
            x_label: "operations per second".to_owned(),
            y_label: "latency (log scale)".to_owned(),
            series: vec![
                Series {
                    name: "p50".to_owned(),
                    points: vec![
                        point(950, 1_020, "1"),
                        point(3_800, 1_900, "8"),
                        point(8_200, 7_700, "64"),
                        point(9_900, 25_000, "256"),
                    ],
                },
                Series {
                    name: "p99".to_owned(),
                    points: vec![
                        point(950, 2_100, ""),
                        point(3_800, 5_300, ""),
                        point(8_200, 16_000, ""),
                        point(9_900, 61_000, ""),
                    ],
                },
            ],
        }
    }

    #[test]
    fn a_picture_has_its_parts() {
        let svg = chart().svg();
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
        let count = |part: &str| svg.matches(part).count();
        assert_eq!((count("<polyline"), count("<circle"), count("<rect class=\"f1\"")), (2, 4, 4));
        for words in [
            ">operations per second<",
            ">latency (log scale)<",
            ">1 ms<",
            ">100 ms<",
            ">10,000<",
            ">256<",
            ">p99<",
        ] {
            assert!(svg.contains(words), "{words}:\n{svg}");
        }
        assert!(
            svg.contains("put &lt;certified&gt; &amp; &quot;verified&quot;") && !svg.contains("<certified>")
        );
        assert!(svg.contains("prefers-color-scheme: dark"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    /// Latency is upwards by powers of ten: the same factor is the same distance.
    #[test]
    fn places_follow_the_figures() {
        let points = [point(100, 100, ""), point(20_000, 80_000, "")];
        let scale = Scale::of(points.iter());
        assert_eq!((scale.y_from, scale.y_to), (2, 5));
        let near = |a: f64, b: f64| (a - b).abs() < 0.001;
        assert!(near(scale.y(100), FRAME.3) && near(scale.y(100_000), FRAME.1));
        assert!(near(scale.y(100) - scale.y(1_000), scale.y(1_000) - scale.y(10_000)));
        assert!(near(scale.x(0), FRAME.0) && near(scale.x(scale.x_end), FRAME.2));
        assert!(near(scale.x(10_000) - scale.x(0), scale.x(20_000) - scale.x(10_000)));
    }

    #[test]
    fn marks_are_round_and_a_picture_of_nothing_is_one() {
        for (end, expected) in [(1, 1), (6, 1), (7, 2), (100, 20), (9_900, 2_000), (40_000, 10_000)] {
            assert_eq!(step(end), expected, "{end}");
        }
        let empty = Chart { series: vec![Series { name: "p50".to_owned(), points: Vec::new() }], ..chart() };
        let svg = empty.svg();
        assert!(svg.contains("<polyline") && !svg.contains("NaN"), "{svg}");
        let same = [point(0, 5, "")];
        let scale = Scale::of(same.iter());
        assert!(scale.y_to > scale.y_from && scale.x_end > 0);
    }
}
