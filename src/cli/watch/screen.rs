//! The terminal: rows that scroll, and a footer that is redrawn in place. The footer has a curve for each currency and
//! the status line.
//!
//! Rows are printed like any other output, so they can be scrolled back and stay when the program ends. A terminal that
//! cannot move its cursor (`TERM=dumb`) gets only the rows.
//!
//! Between two drawings the terminal is in its normal state, with a visible cursor. So nothing has to be restored when
//! the program is stopped or ended (Ctrl-Z, Ctrl-\, a second signal).

use super::curve::curve;
use super::notices::Notices;
use super::output::OutputText;
use super::paint::Paint;
use super::row::Cell;
use super::status_line::StatusLine;
use crate::cli::format::{self, grouped};
use crate::client::{TickUpdate, Update};
use crate::tick::{Currencies, Currency, Price, TickId};
use crossterm::cursor::{Hide, MoveToColumn, MoveUp, Show};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use crossterm::{queue, terminal};
use jiff::civil::Date;
use std::collections::{BTreeMap, VecDeque};

/// The maximum number of prices in a curve.
const CURVE_WIDTH: usize = 200;
/// The width and the height of a terminal that does not report its size.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// The number of lines that a terminal must have in addition to one line for each curve. A terminal with fewer lines
/// shows no curves.
const CURVE_HEIGHT: usize = 8;

/// A table on a terminal.
pub(super) struct Screen {
    paint: Paint,
    can_move_cursor: bool,
    /// The currencies. If the user has chosen none, they are taken from the first tick.
    chosen: Currencies,
    status: StatusLine,
    notices: Notices,
    /// The last price in each currency.
    before: BTreeMap<Currency, Price>,
    /// The prices of each currency's curve, oldest first.
    curves: BTreeMap<Currency, VecDeque<Price>>,
    /// The day of the last row.
    day: Date,
    /// The columns of the last header.
    header: Option<(Cell, Currencies)>,
    /// Rows that are not drawn yet.
    rows: OutputText,
    /// The footer on the terminal, without colours.
    footer: Vec<String>,
}

impl Screen {
    /// Creates a screen. `gets_every_tick` is false if the server leaves out ticks.
    pub(super) fn open(chosen: Currencies, colours: bool, can_move_cursor: bool, gets_every_tick: bool) -> Screen {
        let day = format::local(TickId::now()).date();
        Screen {
            paint: Paint::new(colours),
            can_move_cursor,
            chosen,
            status: StatusLine::new(gets_every_tick),
            notices: Notices::default(),
            before: BTreeMap::new(),
            curves: BTreeMap::new(),
            day,
            header: None,
            rows: OutputText::default(),
            footer: Vec::new(),
        }
    }

    /// Adds an update, which the next [`draw`](Self::draw) shows. Returns true if it is a tick that has a row.
    pub(super) fn update(&mut self, update: &Update) -> bool {
        self.status.update(update);
        if let Some((moment, notice)) = self.notices.of(update) {
            self.add_day(moment);
            let time = format::local(moment).strftime("%H:%M:%S").to_string();
            let text = wrapped(&notice, size().0.saturating_sub(11)).join("\n           ");
            let text =
                if matches!(update, Update::Connected(_)) { self.paint.good(&text) } else { self.paint.warning(&text) };
            self.add_row(&format!("{}  {text}", self.paint.dim(&format!(" {time}"))));
        }
        if let Update::Tick(tick) = update { self.add_tick(tick) } else { false }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.is_full()
    }

    fn add_tick(&mut self, tick: &TickUpdate) -> bool {
        if self.chosen.is_empty() {
            self.chosen = tick.prices.keys().copied().collect();
        }
        if tick.prices.is_empty() {
            return false;
        }
        self.add_day(tick.id);
        let cell = Cell::fitting(size().0, self.chosen.len());
        let visible = cell.visible(size().0, self.chosen);
        if self.header.replace((cell, visible)) != Some((cell, visible)) {
            let header = self.paint.dim(&cell.header(visible));
            self.add_row(&header);
        }
        let row = cell.row(tick, visible, &self.before, self.paint);
        self.add_row(&row);
        for (currency, price) in &tick.prices {
            self.before.insert(*currency, *price);
            let curve = self.curves.entry(*currency).or_default();
            curve.push_back(*price);
            if curve.len() > CURVE_WIDTH {
                curve.pop_front();
            }
        }
        true
    }

    /// Adds a row with the date if a new day begins.
    fn add_day(&mut self, id: TickId) {
        let moment = format::local(id);
        if std::mem::replace(&mut self.day, moment.date()) != moment.date() {
            let day = self.paint.dim(&format!(" {}", moment.strftime("%A, %-d %B %Y")));
            self.add_row(&day);
        }
    }

    fn add_row(&mut self, row: &str) {
        self.rows.feed.extend_from_slice(row.trim_end().as_bytes());
        self.rows.feed.push(b'\n');
    }

    /// Returns the output that draws the new rows over the old footer, and a new footer below. It is empty if nothing
    /// has changed.
    pub(super) fn draw(&mut self) -> OutputText {
        let size = size();
        let footer = if self.can_move_cursor { self.footer(size) } else { Vec::new() };
        let (plain, painted): (Vec<_>, Vec<_>) = footer.into_iter().unzip();
        if self.rows.feed.is_empty() && plain == self.footer {
            return OutputText::default();
        }
        let mut drawn = Vec::new();
        if self.can_move_cursor {
            // Writing to memory cannot fail.
            queue!(drawn, BeginSynchronizedUpdate, Hide).ok();
            self.erase(size.0, &mut drawn);
        }
        drawn.append(&mut self.rows.feed);
        drawn.extend_from_slice(painted.join("\n").as_bytes());
        if self.can_move_cursor {
            queue!(drawn, Show, EndSynchronizedUpdate).ok();
        }
        self.footer = plain;
        OutputText { feed: drawn, ..OutputText::default() }
    }

    /// Forgets the old footer, so that it is not erased: another program may have used the terminal in the meantime.
    pub(super) fn forget_footer(&mut self) {
        self.footer.clear();
    }

    /// Erases the footer. A terminal that has become narrower may have wrapped lines of the footer.
    fn erase(&self, width: usize, drawn: &mut Vec<u8>) {
        let lines: usize = self.footer.iter().map(|line| line.chars().count().div_ceil(width.max(1)).max(1)).sum();
        if let Ok(up @ 1..) = u16::try_from(lines.saturating_sub(1)) {
            queue!(drawn, MoveUp(up)).ok();
        }
        queue!(drawn, MoveToColumn(0), Clear(ClearType::FromCursorDown)).ok();
    }

    /// Returns the lines of the footer, each without and with colours. All are shorter than the terminal is wide, so
    /// that none wraps.
    fn footer(&self, (width, height): (usize, u16)) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        let has_room = usize::from(height) >= CURVE_HEIGHT + self.chosen.len();
        if has_room && !self.curves.is_empty() {
            let rule = format!(" {}", "─".repeat(width.saturating_sub(2)));
            lines.push((rule.clone(), self.paint.dim(&rule)));
            lines.extend(self.chosen.iter().filter_map(|currency| self.curve(currency, width)));
        }
        lines.push(self.status.text(width.saturating_sub(1), self.paint));
        lines
    }

    fn curve(&self, currency: Currency, width: usize) -> Option<(String, String)> {
        let prices = self.curves.get(&currency)?;
        let all = curve(prices.iter(), CURVE_WIDTH)?;
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

    /// Returns the output that erases the footer and prints the summary below the rows.
    pub(super) fn close(&mut self) -> OutputText {
        let mut drawn = Vec::new();
        if self.can_move_cursor {
            self.erase(size().0, &mut drawn);
        }
        self.footer.clear();
        drawn.append(&mut self.rows.feed);
        for line in wrapped(&self.status.summary(), size().0.saturating_sub(2)) {
            let line = format!(" {}", line.replace('\u{a0}', " "));
            drawn.extend_from_slice(self.paint.dim(&line).as_bytes());
            drawn.push(b'\n');
        }
        OutputText { feed: drawn, ..OutputText::default() }
    }
}

/// Returns the width and the height of the terminal.
fn size() -> (usize, u16) {
    let (width, height) = terminal::size().ok().filter(|(width, _)| *width > 0).unwrap_or(DEFAULT_SIZE);
    (usize::from(width), height)
}

/// Wraps a text between words into lines of at most `width` characters. A longer word has a line of its own.
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
    fn text_is_wrapped_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("one two", 2), ["one", "two"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
