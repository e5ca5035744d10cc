//! The terminal: rows that scroll, and a foot that is redrawn in place: a curve for each currency, and the state.
//!
//! Rows are printed like any other output, so that they can be scrolled back to and stay there afterwards. A terminal that
//! cannot move its cursor (`TERM=dumb`) gets the rows alone.
//!
//! Between two drawings the terminal is as a shell wants to have it, cursor and all: whatever stops or ends the program
//! (Ctrl-Z, Ctrl-\, a second signal) leaves nothing to put right.

use super::curve::curve;
use super::news::News;
use super::output::Text;
use super::row::Cell;
use super::state::State;
use crate::cli::words::{self, grouped};
use crate::client::{Tick, Update};
use crate::tick::{Currencies, Currency, Price, TickId};
use crossterm::cursor::{Hide, MoveToColumn, MoveUp, Show};
use crossterm::style::Stylize;
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use crossterm::{queue, terminal};
use jiff::civil::Date;
use std::collections::{BTreeMap, VecDeque};

/// The most prices that a curve can have room for.
const CURVE: usize = 200;
/// The size where a terminal does not tell it.
const USUAL: (u16, u16) = (80, 24);
/// On a lower terminal the state has to do.
const LOW: u16 = 10;

/// Colours, if there are to be any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    #[cfg(test)]
    pub(super) const NONE: Paint = Paint(false);

    pub(super) fn good(self, text: &str) -> String {
        if self.0 { text.dark_green().to_string() } else { text.to_owned() }
    }

    pub(super) fn bad(self, text: &str) -> String {
        if self.0 { text.dark_red().to_string() } else { text.to_owned() }
    }

    pub(super) fn loud(self, text: &str) -> String {
        if self.0 { text.dark_yellow().bold().to_string() } else { text.to_owned() }
    }

    pub(super) fn dim(self, text: &str) -> String {
        if self.0 { text.dim().to_string() } else { text.to_owned() }
    }
}

/// A table on a terminal.
pub(super) struct Screen {
    paint: Paint,
    /// Whether the cursor can be moved.
    moves: bool,
    /// Empty if the server chooses; then what came first counts.
    chosen: Currencies,
    state: State,
    news: News,
    /// The last price in each currency, and the last ones.
    before: BTreeMap<Currency, Price>,
    curves: BTreeMap<Currency, VecDeque<Price>>,
    /// The day that the last row is of.
    day: Date,
    header: Option<Cell>,
    /// Rows that are not drawn yet.
    rows: Text,
    /// The foot as it stands there, without colours.
    foot: Vec<String>,
}

impl Screen {
    pub(super) fn open(chosen: Currencies, colours: bool, moves: bool) -> Screen {
        let day = words::local(TickId::now()).date();
        Screen {
            paint: Paint(colours),
            moves,
            chosen,
            state: State::new(),
            news: News::default(),
            before: BTreeMap::new(),
            curves: BTreeMap::new(),
            day,
            header: None,
            rows: Text::default(),
            foot: Vec::new(),
        }
    }

    /// Takes an update in, which is drawn with the next [`draw`](Self::draw). Whether it was a tick that has a row.
    pub(super) fn update(&mut self, update: &Update) -> bool {
        self.state.update(update);
        if let Some((moment, news)) = self.news.of(update) {
            self.day(moment);
            let time = words::local(moment).strftime("%H:%M:%S").to_string();
            let text = wrapped(&news, size().0.saturating_sub(11)).join("\n           ");
            let text =
                if matches!(update, Update::Connected(_)) { self.paint.good(&text) } else { self.paint.loud(&text) };
            self.row(&format!("{}  {text}", self.paint.dim(&format!(" {time}"))));
        }
        if let Update::Tick(tick) = update { self.tick(tick) } else { false }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.is_full()
    }

    fn tick(&mut self, tick: &Tick) -> bool {
        if self.chosen.is_empty() {
            self.chosen = tick.prices.keys().copied().collect();
        }
        if tick.prices.is_empty() {
            return false;
        }
        self.day(tick.id);
        let cell = Cell::fitting(size().0, self.chosen.len());
        if self.header.replace(cell) != Some(cell) {
            let header = self.paint.dim(&cell.header(self.chosen));
            self.row(&header);
        }
        let row = cell.row(tick, self.chosen, &self.before, self.paint);
        self.row(&row);
        for (currency, price) in &tick.prices {
            self.before.insert(*currency, *price);
            let curve = self.curves.entry(*currency).or_default();
            curve.push_back(*price);
            if curve.len() > CURVE {
                curve.pop_front();
            }
        }
        true
    }

    /// A row of its own where a new day begins.
    fn day(&mut self, id: TickId) {
        let moment = words::local(id);
        if std::mem::replace(&mut self.day, moment.date()) != moment.date() {
            let day = self.paint.dim(&format!(" {}", moment.strftime("%A, %-d %B %Y")));
            self.row(&day);
        }
    }

    fn row(&mut self, row: &str) {
        self.rows.shown.extend_from_slice(row.trim_end().as_bytes());
        self.rows.shown.push(b'\n');
    }

    /// The drawing of what has come: the rows where the foot was, and the foot below. Empty if it would change nothing.
    pub(super) fn draw(&mut self) -> Text {
        let size = size();
        let foot = if self.moves { self.foot(size) } else { Vec::new() };
        let (plain, painted): (Vec<_>, Vec<_>) = foot.into_iter().unzip();
        if self.rows.shown.is_empty() && plain == self.foot {
            return Text::default();
        }
        let mut drawn = Vec::new();
        if self.moves {
            // Writing to memory cannot fail.
            queue!(drawn, BeginSynchronizedUpdate, Hide).ok();
            self.erase(size.0, &mut drawn);
        }
        drawn.append(&mut self.rows.shown);
        drawn.extend_from_slice(painted.join("\n").as_bytes());
        if self.moves {
            queue!(drawn, Show, EndSynchronizedUpdate).ok();
        }
        self.foot = plain;
        Text { shown: drawn, ..Text::default() }
    }

    /// Whoever had the terminal meanwhile may have written where the foot was.
    pub(super) fn forget_foot(&mut self) {
        self.foot.clear();
    }

    /// Takes the foot away. On a terminal that has become narrower its lines are several.
    fn erase(&self, width: usize, drawn: &mut Vec<u8>) {
        let lines: usize = self.foot.iter().map(|line| line.chars().count().div_ceil(width.max(1)).max(1)).sum();
        if let Ok(up @ 1..) = u16::try_from(lines.saturating_sub(1)) {
            queue!(drawn, MoveUp(up)).ok();
        }
        queue!(drawn, MoveToColumn(0), Clear(ClearType::FromCursorDown)).ok();
    }

    /// The lines of the foot, as they read and as they look. None is as wide as the terminal, so that none wraps.
    fn foot(&self, (width, height): (usize, u16)) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        if height >= LOW && !self.curves.is_empty() {
            let rule = format!(" {}", "─".repeat(width.saturating_sub(2)));
            lines.push((rule.clone(), self.paint.dim(&rule)));
            lines.extend(self.chosen.iter().filter_map(|currency| self.curve(currency, width)));
        }
        lines.push(self.state.line(width.saturating_sub(1), self.paint));
        lines
    }

    fn curve(&self, currency: Currency, width: usize) -> Option<(String, String)> {
        let prices = self.curves.get(&currency)?;
        let all = curve(prices.iter(), CURVE)?;
        let bounds = |low: Price, high: Price| {
            format!("  {} – {}", grouped(&low.rounded().to_string()), grouped(&high.rounded().to_string()))
        };
        let room = if width < 60 { 0 } else { bounds(all.low, all.high).chars().count().max(26) };
        let shown = curve(prices.iter(), width.saturating_sub(" USD  ".len() + room + 1))?;
        let bounds = if room == 0 { String::new() } else { bounds(shown.low, shown.high) };
        let plain = format!(" {currency}  {}{bounds}", shown.bars);
        let painted = format!(" {currency}  {}{}", self.paint.good(&shown.bars), self.paint.dim(&bounds));
        Some((plain, painted))
    }

    /// The last drawing: the rows stay, and below them is what there is to say at the end.
    pub(super) fn close(&mut self) -> Text {
        let mut drawn = Vec::new();
        if self.moves {
            self.erase(size().0, &mut drawn);
        }
        self.foot.clear();
        drawn.append(&mut self.rows.shown);
        for line in wrapped(&self.state.summary(), size().0.saturating_sub(2)) {
            let line = format!(" {}", line.replace('\u{a0}', " "));
            drawn.extend_from_slice(self.paint.dim(&line).as_bytes());
            drawn.push(b'\n');
        }
        Text { shown: drawn, ..Text::default() }
    }
}

/// The terminal's width and height.
fn size() -> (usize, u16) {
    let (width, height) = terminal::size().ok().filter(|(width, _)| *width > 0).unwrap_or(USUAL);
    (usize::from(width), height)
}

/// A text in lines of `width` characters at most, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 || line + 1 + word.chars().count() <= width => {
                if line > 0 {
                    last.push(' ');
                }
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn a_text_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("one two", 2), ["one", "two"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
