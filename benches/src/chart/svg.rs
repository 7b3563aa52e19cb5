//! Writes SVG: marks, lines and text, with all text escaped.

use std::fmt::Write;

use super::{STYLE, Style};

/// The size of text in units of the picture.
pub const FONT: f64 = 14.0;
/// The number of colours of series.
const COLOURS: usize = 8;
/// The number of marks. It has no common factor with [`COLOURS`], so that 56 series differ in colour or mark.
const MARKS: usize = 7;

/// A picture that is being drawn.
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// The alignment of a text.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// It starts at its place.
    Start,
    /// It is centred at its place.
    Middle,
    /// It ends at its place.
    End,
}

impl Svg {
    /// Makes an empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Returns the picture as an element of a page.
    pub fn inline(self, title: &str) -> String {
        self.whole(title, "", "")
    }

    /// Returns the picture as a file of its own.
    pub fn file(self, title: &str) -> String {
        let ground = format!("<style>{STYLE}</style><rect class=\"ground\" width=\"100%\" height=\"100%\"/>");
        let (width, height) = (self.width, self.height);
        let root = format!(" xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\"");
        self.whole(title, &root, &ground)
    }

    fn whole(self, title: &str, root: &str, before: &str) -> String {
        let (title, Self { width, height, body }) = (escape(title), self);
        let class = if width < 500.0 { "chart small" } else { "chart" };
        format!(
            "<svg{root} class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-label=\"{title}\">{before}{body}</svg>\n"
        )
    }

    /// Draws a straight line.
    pub fn line(&mut self, class: &str, from: [f64; 2], to: [f64; 2]) {
        let ([x1, y1], [x2, y2]) = (from.map(cut), to.map(cut));
        self.put(format_args!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"));
    }

    /// Draws a line through points, in the colour of its series.
    pub fn path(&mut self, style: Style, class: &str, points: &[[f64; 2]]) {
        let points: Vec<String> = points.iter().map(|[x, y]| format!("{},{}", cut(*x), cut(*y))).collect();
        let colour = style.index % COLOURS;
        let points = points.join(" ");
        self.put(format_args!("<polyline class=\"s{colour} line {class}\" points=\"{points}\"/>"));
    }

    /// Draws a text whose baseline starts, is centred or ends at a place.
    pub fn text(&mut self, class: &str, anchor: Anchor, [x, y]: [f64; 2], text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y, text) = (cut(x), cut(y), escape(text));
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// Draws a vertical text, centred at a place.
    pub fn upwards(&mut self, [x, y]: [f64; 2], text: &str) {
        let (x, y, text) = (cut(x), cut(y), escape(text));
        self.put(format_args!(
            "<text text-anchor=\"middle\" transform=\"translate({x} {y}) rotate(-90)\">{text}</text>"
        ));
    }

    /// Draws the mark of a series, with its tooltip.
    pub fn mark(&mut self, style: Style, [x, y]: [f64; 2], radius: f64, told: &str) {
        let colour = style.index % COLOURS;
        let class = if style.hollow { "hollow" } else { "mark" };
        let told = if told.is_empty() { String::new() } else { format!("<title>{}</title>", escape(told)) };
        let shape = shape(style.index % MARKS, [x, y], radius);
        self.put(format_args!(
            "<g class=\"s{colour}\"><path class=\"{class}\" d=\"{shape}\">{told}</path></g>"
        ));
    }

    /// Draws the faint mark of one seed among several.
    pub fn faint_mark(&mut self, style: Style, at: [f64; 2]) {
        self.put(format_args!("<g class=\"faint\">"));
        self.mark(Style { hollow: false, ..style }, at, 3.5, "");
        self.put(format_args!("</g>"));
    }

    /// Draws an error bar between two places, with caps.
    pub fn bar(&mut self, style: Style, from: [f64; 2], to: [f64; 2]) {
        let upright = (from[0] - to[0]).abs() < (from[1] - to[1]).abs();
        let end = |[x, y]: [f64; 2]| match upright {
            true => format!("M{} {}h8", cut(x - 4.0), cut(y)),
            false => format!("M{} {}v8", cut(x), cut(y - 4.0)),
        };
        let ([x1, y1], [x2, y2], colour) = (from.map(cut), to.map(cut), style.index % COLOURS);
        self.put(format_args!(
            "<path class=\"s{colour} bar\" d=\"M{x1} {y1}L{x2} {y2}{}{}\"/>",
            end(from),
            end(to)
        ));
    }

    fn put(&mut self, what: std::fmt::Arguments) {
        self.body.write_fmt(what).expect("a string takes all");
    }
}

/// Returns the outline of a mark; all have about the same area.
fn shape(mark: usize, [x, y]: [f64; 2], radius: f64) -> String {
    let polygon = |n: usize, scale: f64, turn: f64| {
        let corner = |at: usize| {
            let angle = std::f64::consts::TAU * (at as f64 / n as f64 + turn);
            let (dx, dy) = (radius * scale * angle.sin(), -radius * scale * angle.cos());
            format!("{} {}", cut(x + dx), cut(y + dy))
        };
        format!("M{}Z", (0..n).map(corner).collect::<Vec<_>>().join("L"))
    };
    match mark {
        0 => {
            let r = cut(radius);
            format!(
                "M{} {}a{r} {r} 0 1 0 {} 0a{r} {r} 0 1 0 -{} 0Z",
                cut(x - radius),
                cut(y),
                2.0 * r,
                2.0 * r
            )
        }
        1 => polygon(4, 1.25, 0.125),
        2 => polygon(3, 1.45, 0.0),
        3 => polygon(4, 1.35, 0.0),
        4 => polygon(3, 1.45, 0.5),
        5 => polygon(5, 1.2, 0.0),
        _ => polygon(6, 1.15, 0.25),
    }
}

/// Rounds to two decimals, which is finer than any screen shows.
fn cut(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Returns an upper estimate of a text's width in units of the picture: that in DejaVu Sans, which is wider than most
/// fonts.
pub fn width(text: &str) -> f64 {
    let of = |c: char| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | '.' | ',' | ' ' | '(' | ')' | '[' | ']' | '\'' | '|' => 0.38,
        'm' | 'w' | 'M' | 'W' | '@' => 0.98,
        '<' | '>' | '&' | '+' | '=' | '%' => 0.9,
        'A'..='Z' => 0.72,
        _ => 0.63,
    };
    text.chars().map(of).sum::<f64>() * FONT
}

/// Cuts a text that is wider than `most`.
pub fn shorten(text: &str, most: f64) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    while !short.is_empty() && width(&short) + width("…") > most {
        short.pop();
    }
    short + "…"
}

/// Escapes the characters of a text that have a meaning in HTML and XML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters are not allowed in HTML or XML.
            c if c.is_control() && c != '\n' && c != '\t' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
