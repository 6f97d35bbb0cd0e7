//! Plots as inline SVG.
//!
//! Owns: scales, ticks, lines, bands and their legends. Never: what is plotted. Invariants: no
//! colour is named here (classes are, so that the page can be light or dark); every line has a
//! dash of its own and a legend, so that colour alone tells nothing; texts are escaped.

use super::html::escape;
use std::fmt::Write;

/// Size of a plot and the room around it, in its own units: about those of the page on a phone.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 38.0;

/// Ticks of an axis at most.
const TICKS_MAX: usize = 6;

/// One direction.
#[derive(Clone, Debug)]
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub is_log: bool,
    /// What stands beside the axis.
    pub label: String,
    /// How a value is written.
    pub show: fn(f64) -> String,
    /// Ticks, where they are not to be found by themselves.
    pub ticks: Option<Vec<(f64, String)>>,
}

/// A line. `class` is one of the page's `s1` to `s6`.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub class: &'static str,
    /// A point without a value is a gap.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A band of a stack: heights above the bands below.
#[derive(Clone, Debug)]
pub struct Band {
    pub name: String,
    pub class: &'static str,
    pub heights: Vec<f64>,
}

/// A plot with its words.
#[derive(Clone, Debug)]
pub struct Plot {
    pub title: String,
    /// One sentence: what to look for.
    pub note: String,
    pub x: Scale,
    pub y: Scale,
}

impl Scale {
    /// From 0 to a round number above the highest value.
    pub fn linear(high: f64, label: &str, show: fn(f64) -> String) -> Self {
        let high = if high.is_finite() && high > 0.0 { high } else { 1.0 };
        let step = step(high);
        let high = (high / step).ceil() * step;
        Self { low: 0.0, high, is_log: false, label: label.to_owned(), show, ticks: None }
    }

    /// Decades or their halves around the values.
    pub fn log(low: f64, high: f64, label: &str, show: fn(f64) -> String) -> Self {
        let low = if low.is_finite() && low > 0.0 { low } else { 1e-4 };
        let high = if high.is_finite() && high > low { high } else { low * 10.0 };
        let round = |value: f64, up: bool| {
            let decade = 10_f64.powf(value.log10().floor());
            let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
            // a hair of room: a value on the step stays on it
            let mut inside = steps.into_iter();
            if up {
                inside.find(|step| *step >= value * 0.999).unwrap_or(decade * 10.0)
            } else {
                inside.rev().find(|step| *step <= value * 1.001).unwrap_or(decade)
            }
        };
        let (low, high) = (round(low, false), round(high, true));
        let high = if high <= low { low * 10.0 } else { high };
        Self { low, high, is_log: true, label: label.to_owned(), show, ticks: None }
    }

    /// 0 at the low end, 1 at the high one.
    fn at(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        if let Some(ticks) = &self.ticks {
            return ticks.clone();
        }
        let values: Vec<f64> = if self.is_log { self.decades() } else { self.steps() };
        values.into_iter().map(|value| (value, (self.show)(value))).collect()
    }

    fn steps(&self) -> Vec<f64> {
        let step = step(self.high - self.low);
        (0..=TICKS_MAX)
            .map(|count| self.low + count as f64 * step)
            .take_while(|value| *value <= self.high + step * 1e-6)
            .collect()
    }

    fn decades(&self) -> Vec<f64> {
        let all = |steps: &[f64]| -> Vec<f64> {
            let mut decade = 10_f64.powf(self.low.log10().floor());
            let mut found = Vec::new();
            while decade <= self.high * 1.001 {
                let inside = steps.iter().map(|step| step * decade);
                found.extend(
                    inside.filter(|it| *it >= self.low * 0.999 && *it <= self.high * 1.001),
                );
                decade *= 10.0;
            }
            found
        };
        let fine = all(&[1.0, 2.0, 5.0]);
        if fine.len() <= TICKS_MAX { fine } else { all(&[1.0]) }
    }
}

/// 1, 2 or 5 times a power of ten, so that a few of them fill the height.
fn step(height: f64) -> f64 {
    let rough = height / (TICKS_MAX as f64 - 1.0);
    let decade = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * decade >= rough * 0.999);
    step.unwrap_or(10.0) * decade
}

impl Plot {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.at(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.at(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// Lines over one another, with their last values in the legend.
    pub fn lines(&self, lines: &[Line]) -> String {
        let mut body = String::new();
        for line in lines {
            let _ = write!(body, "<path class=\"line {}\" d=\"{}\"/>", line.class, self.path(line));
        }
        let legend: Vec<(&str, &str)> =
            lines.iter().map(|line| (line.name.as_str(), line.class)).collect();
        self.figure(&body, &legend, "line")
    }

    fn path(&self, line: &Line) -> String {
        let mut path = String::new();
        let mut is_open = false;
        for (x, y) in &line.points {
            let Some(y) = y else {
                is_open = false;
                continue;
            };
            let verb = if is_open { 'L' } else { 'M' };
            let _ = write!(path, "{verb}{:.1} {:.1}", self.x(*x), self.y(*y));
            is_open = true;
        }
        path
    }

    /// Bands on one another; `xs` are the left edges, the last one's right edge is the scale's end.
    pub fn stack(&self, xs: &[f64], bands: &[Band]) -> String {
        let mut body = String::new();
        let mut below = vec![0.0; xs.len()];
        for band in bands {
            let above: Vec<f64> =
                below.iter().zip(&band.heights).map(|(base, height)| base + height).collect();
            let path = self.band(xs, &below, &above);
            let _ = write!(body, "<path class=\"band {}\" d=\"{path}\"/>", band.class);
            below = above;
        }
        let legend: Vec<(&str, &str)> =
            bands.iter().map(|band| (band.name.as_str(), band.class)).collect();
        self.figure(&body, &legend, "band")
    }

    /// Steps along the top, back along the bottom.
    fn band(&self, xs: &[f64], below: &[f64], above: &[f64]) -> String {
        let right = |index: usize| xs.get(index + 1).copied().unwrap_or(self.x.high);
        let mut path = String::new();
        for (index, (x, y)) in xs.iter().zip(above).enumerate() {
            let verb = if index == 0 { 'M' } else { 'L' };
            let _ = write!(
                path,
                "{verb}{:.1} {:.1}H{:.1}",
                self.x(*x),
                self.y(*y),
                self.x(right(index))
            );
        }
        for (index, (x, y)) in xs.iter().zip(below).enumerate().rev() {
            let _ =
                write!(path, "L{:.1} {:.1}H{:.1}", self.x(right(index)), self.y(*y), self.x(*x));
        }
        if !path.is_empty() {
            path.push('Z');
        }
        path
    }

    fn figure(&self, body: &str, legend: &[(&str, &str)], kind: &str) -> String {
        let mut out = format!(
            "<figure class=\"plot\"><figcaption><h3>{}</h3><p>{}</p></figcaption>\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.title),
            escape(&self.note),
            escape(&format!("{}: {}", self.title, self.note))
        );
        self.axes(&mut out);
        out.push_str(body);
        out.push_str("</svg><ul class=\"legend\">");
        for (name, class) in legend {
            let _ = write!(
                out,
                "<li><svg viewBox=\"0 0 22 10\" aria-hidden=\"true\">{}</svg>{}</li>",
                if kind == "line" {
                    format!("<path class=\"line {class}\" d=\"M1 5H21\"/>")
                } else {
                    format!(
                        "<rect class=\"band {class}\" x=\"5\" width=\"12\" height=\"10\" rx=\"2\"/>"
                    )
                },
                escape(name)
            );
        }
        out.push_str("</ul></figure>");
        out
    }

    fn axes(&self, out: &mut String) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, text) in self.y.ticks() {
            let y = self.y(value);
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
                 <text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 3.8,
                escape(&text)
            );
        }
        for (value, text) in self.x.ticks() {
            let x = self.x(value);
            // the outermost ones stay within the picture
            let anchor = if x > right - 12.0 { "end" } else { "mid" };
            let _ = write!(
                out,
                "<path class=\"mark\" d=\"M{x:.1} {bottom}v4\"/>\
                 <text class=\"tick {anchor}\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 16.0,
                escape(&text)
            );
        }
        let _ = write!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\"/>\
             <text class=\"name end\" x=\"{right}\" y=\"{:.1}\">{}</text>\
             <text class=\"name\" x=\"2\" y=\"{:.1}\">{}</text>",
            HEIGHT - 5.0,
            escape(&self.x.label),
            HEIGHT - 5.0,
            escape(&format!("\u{2191} {}", self.y.label))
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: f64) -> String {
        format!("{value}")
    }

    #[test]
    fn scales_end_at_round_numbers_with_few_ticks() {
        for (high, end, count) in
            [(97.0, 100.0, 6), (0.0, 1.0, 6), (1.0, 1.0, 6), (4_321.0, 5_000.0, 6)]
        {
            let scale = Scale::linear(high, "", plain);
            assert!((scale.high - end).abs() < 1e-9, "{high}: {}", scale.high);
            assert_eq!(scale.ticks().len(), count, "{high}");
        }
        let scale = Scale::log(0.0031, 0.4, "", plain);
        assert!((scale.low - 0.002).abs() < 1e-9 && (scale.high - 0.5).abs() < 1e-9);
        assert!(scale.ticks().len() <= 8 && scale.ticks().len() >= 2);
        for (low, high) in [(0.0, 0.0), (f64::NAN, 1.0), (5.0, 5.0), (1e-9, 1e9)] {
            let scale = Scale::log(low, high, "", plain);
            assert!(scale.low > 0.0 && scale.high > scale.low);
            assert!(scale.at(f64::INFINITY) <= 1.0 && scale.at(0.0) >= 0.0);
        }
    }

    #[test]
    fn gaps_stay_gaps_and_words_are_escaped() {
        let plot = Plot {
            title: "a <b>".to_owned(),
            note: "\"n\"".to_owned(),
            x: Scale::linear(3.0, "s", plain),
            y: Scale::linear(1.0, "y", plain),
        };
        let points = vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(0.5)), (3.0, Some(0.2))];
        let line = Line { name: "<x>".to_owned(), class: "s1", points };
        assert_eq!(plot.path(&line).matches('M').count(), 2);
        let text = plot.lines(&[line]);
        assert!(
            text.contains("a &lt;b&gt;") && text.contains("&lt;x&gt;") && !text.contains("NaN")
        );
        let bands = [Band { name: "b".to_owned(), class: "s1", heights: vec![0.5, 0.25] }];
        let text = plot.stack(&[0.0, 1.5], &bands);
        assert_eq!(text.matches('Z').count(), 1);
        assert!(!plot.stack(&[], &[]).contains("NaN"));
    }
}
