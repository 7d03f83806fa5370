//! Schedules from CSV files.
//!
//! Owns the columns, what may stand in them, and errors that name line and column. What a schedule does is elsewhere.
//!
//! ```text
//! time,down,up,rtt,change      the columns that are used, in any order; `time` must be one
//! 0,512k,128k,600ms,step       time in seconds, or with units; rates; times in ms, or with units
//! 30.5,64k,,,ramp              an empty cell leaves a value as it was
//! 2m,,,,repeat                 here it begins again
//! ```

use std::time::Duration;

use crate::rate::BitRate;
use crate::spec::value::parse_time;
use crate::spec::{Change, Loss, Point, Schedule};
use crate::trace::TraceError;
use crate::units::{self, Unit};

/// More rows than this are a mistake rather than a schedule.
const ROWS_MAX: usize = 1_000_000;
const LOSS_MAX: u64 = 500_000;
/// As of a specification.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

const SECONDS: &[Unit] = &[("", 1_000_000_000)];
const MILLISECONDS: &[Unit] = &[("", 1_000_000)];
const PERCENT: &[Unit] = &[("", 10_000), ("%", 10_000)];

const COLUMNS: &[(&str, Column)] = &[
    ("time", Column::Time),
    ("down", Column::Down),
    ("up", Column::Up),
    ("rtt", Column::Rtt),
    ("jitter", Column::Jitter),
    ("loss", Column::Loss),
    ("change", Column::Change),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Time,
    Down,
    Up,
    Rtt,
    Jitter,
    Loss,
    Change,
}

/// A row: what the link becomes, or that it begins again then.
#[derive(Clone, Copy, Debug)]
struct Row {
    point: Point,
    timed: bool,
    repeat: bool,
}

impl Schedule {
    /// Reads a schedule from a table: its first line names the columns among `time`, `down`, `up`, `rtt`, `jitter`,
    /// `loss` and `change`; each other line is a point, in ascending order of `time`. A last line whose `change` is
    /// `repeat` gives the time after which it begins again. Blank lines and what follows a `#` are passed over.
    ///
    /// ```
    /// # use linkio::Schedule;
    /// let schedule = Schedule::from_csv("time,down,change\n0,512k,\n30.5,64k,ramp\n2m,,repeat\n")?;
    /// assert_eq!(schedule.points.len(), 2);
    /// assert_eq!(schedule.repeat.map(|repeat| repeat.as_secs()), Some(120));
    /// # Ok::<(), linkio::TraceError>(())
    /// ```
    ///
    /// # Errors
    /// Names the first line and column that are not of this form.
    pub fn from_csv(text: &str) -> Result<Self, TraceError> {
        let mut columns = None;
        let mut schedule = Self::default();
        let mut line = 0;
        for content in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
            line += 1;
            let content = content.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            let located = |message| TraceError { line, message };
            match &columns {
                None => columns = Some(header(content).map_err(located)?),
                Some(columns) => {
                    row(content, columns).and_then(|row| schedule.take(row)).map_err(located)?;
                }
            }
        }
        match (columns, schedule.points.is_empty()) {
            (None, _) => Err(TraceError::new(
                line.max(1),
                "expected a first line that names the columns, such as time,down,up",
            )),
            (Some(_), true) => {
                Err(TraceError::new(line, "expected at least one row below the names of the columns"))
            }
            _ => Ok(schedule),
        }
    }

    /// Appends what a row says.
    fn take(&mut self, row: Row) -> Result<(), String> {
        let last = self.points.last().map(|point| point.at);
        if self.repeat.is_some() {
            return Err("expected nothing after the row whose change is repeat".to_owned());
        }
        if row.repeat {
            return match last {
                Some(last) if row.point.at >= last && !row.point.at.is_zero() => {
                    self.repeat = Some(row.point.at);
                    Ok(())
                }
                _ => Err("column time: expected repeat after at least one row, and not before it".to_owned()),
            };
        }
        if last.is_some_and(|last| row.point.at <= last) {
            return Err("column time: expected a later time than in the row before".to_owned());
        }
        if self.points.len() == ROWS_MAX {
            return Err("expected at most a million rows".to_owned());
        }
        self.points.push(row.point);
        Ok(())
    }
}

/// The columns in their order.
fn header(content: &str) -> Result<Vec<Column>, String> {
    let mut columns = Vec::new();
    for name in content.split(',').map(cell) {
        let known = COLUMNS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        let names = || COLUMNS.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
        let (known, column) =
            // What stands there is not repeated: a file that is no table may hold what whoever named it may not read.
            known.ok_or_else(|| format!("expected columns among {} and no others", names()))?;
        if columns.contains(column) {
            return Err(format!("expected column {known} only once"));
        }
        columns.push(*column);
    }
    if !columns.contains(&Column::Time) {
        return Err("expected a column time".to_owned());
    }
    Ok(columns)
}

fn row(content: &str, columns: &[Column]) -> Result<Row, String> {
    let point = Point {
        at: Duration::ZERO,
        change: Change::Step,
        down: None,
        up: None,
        rtt: None,
        jitter: None,
        loss: None,
    };
    let mut row = Row { point, timed: false, repeat: false };
    for (index, text) in content.split(',').map(cell).enumerate() {
        let Some(column) = columns.get(index) else {
            return Err(format!("expected {} columns as in the first line, and not more", columns.len()));
        };
        if !text.is_empty() {
            row.read(*column, text).map_err(|expected| {
                let name = COLUMNS.iter().find(|(_, known)| known == column).map_or("", |(name, _)| name);
                format!("column {name}: expected {expected}, and not {text:?}")
            })?;
        }
    }
    if !row.timed {
        return Err("column time: expected a time".to_owned());
    }
    let Point { down, up, rtt, jitter, loss, .. } = &row.point;
    let says_nothing = down.is_none() && up.is_none() && rtt.is_none() && jitter.is_none() && loss.is_none();
    if row.repeat && !says_nothing {
        return Err("column change: expected nothing but a time in the row of repeat".to_owned());
    }
    Ok(row)
}

impl Row {
    /// Puts a cell into its place, or says what would have been right.
    fn read(&mut self, column: Column, text: &str) -> Result<(), &'static str> {
        match column {
            Column::Time => {
                self.timed = true;
                self.point.at = time(text, SECONDS).ok_or("seconds such as 12.5, or a time such as 1m30s")?;
            }
            Column::Down => self.point.down = Some(rate(text)?),
            Column::Up => self.point.up = Some(rate(text)?),
            Column::Rtt => self.point.rtt = Some(delay(text)?),
            Column::Jitter => self.point.jitter = Some(delay(text)?),
            Column::Loss => self.point.loss = Some(loss(text)?),
            Column::Change if text.eq_ignore_ascii_case("step") => self.point.change = Change::Step,
            Column::Change if text.eq_ignore_ascii_case("ramp") => self.point.change = Change::Ramp,
            Column::Change if text.eq_ignore_ascii_case("repeat") => self.repeat = true,
            Column::Change => return Err("step, ramp or repeat"),
        }
        Ok(())
    }
}

/// What a cell holds, without the quotes some programs put around it.
fn cell(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map_or(text, str::trim)
}

fn rate(text: &str) -> Result<BitRate, &'static str> {
    text.parse().map_err(|_| "a rate in bits per second such as 512k or 10M; 0 is a closed link")
}

fn delay(text: &str) -> Result<Duration, &'static str> {
    let delay = time(text, MILLISECONDS).filter(|delay| *delay <= LONGEST_DELAY);
    delay.ok_or("milliseconds such as 600, or a time such as 1.5s, at most 1h")
}

fn time(text: &str, bare: &[Unit]) -> Option<Duration> {
    let bare = units::parse(text, bare, "").ok().map(Duration::from_nanos);
    bare.or_else(|| parse_time(text))
}

fn loss(text: &str) -> Result<Loss, &'static str> {
    let number = text.strip_suffix('%').map_or(text, str::trim_end);
    let millionths = units::parse(number, PERCENT, "").ok().filter(|loss| *loss <= LOSS_MAX);
    let millionths = millionths.and_then(|loss| u32::try_from(loss).ok());
    millionths.map(Loss).ok_or("a percentage up to 50 with at most four decimals, such as 0.5%")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The points as (milliseconds, down, up, rtt in ms, jitter in ms, loss, whether a ramp).
    type Seen = (u128, Option<u64>, Option<u64>, Option<u128>, Option<u128>, Option<u32>, bool);

    fn check(text: &str, points: &[Seen], repeat: Option<u64>) {
        let schedule = Schedule::from_csv(text).unwrap();
        let millis = |time: Duration| time.as_micros() / 1000;
        let seen = schedule.points.iter().map(|point| {
            let bits = |rate: Option<BitRate>| rate.map(BitRate::bits_per_second);
            let (rtt, jitter) = (point.rtt.map(millis), point.jitter.map(millis));
            let loss = point.loss.map(|loss| loss.0);
            let ramp = point.change == Change::Ramp;
            (millis(point.at), bits(point.down), bits(point.up), rtt, jitter, loss, ramp)
        });
        assert_eq!(seen.collect::<Vec<_>>(), points, "{text}");
        assert_eq!(schedule.repeat, repeat.map(Duration::from_millis), "{text}");
    }

    fn fails(text: &str, line: usize, message: &str) {
        let error = Schedule::from_csv(text).unwrap_err();
        assert_eq!((error.line, error.message.as_str()), (line, message), "{text}");
    }

    #[test]
    fn columns_in_any_order_and_empty_cells() {
        let full =
            "time,down,up,rtt,jitter,loss,change\n0,512k,128k,600,20ms,0.5%,step\n1m30s,0,,1.5s,,2,ramp\n";
        check(
            full,
            &[
                (0, Some(512_000), Some(128_000), Some(600), Some(20), Some(5_000), false),
                (90_000, Some(0), None, Some(1500), None, Some(20_000), true),
            ],
            None,
        );
        check(
            "up,TIME\n1M,0.25\n\n# end\n,2 # nothing\n",
            &[
                (250, None, Some(1_000_000), None, None, None, false),
                (2000, None, None, None, None, None, false),
            ],
            None,
        );
        check(
            "\u{feff}\"time\", \"down\"\r\n\"1\", \"9600\"\r\n",
            &[(1000, Some(9600), None, None, None, None, false)],
            None,
        );
        check(
            "time,down,change\n5,1k\n10,,Repeat\n",
            &[(5000, Some(1000), None, None, None, None, false)],
            Some(10_000),
        );
    }

    #[test]
    fn errors_name_line_and_column() {
        fails("", 1, "expected a first line that names the columns, such as time,down,up");
        fails("# x\ntime,down\n", 2, "expected at least one row below the names of the columns");
        fails(
            "time,rate\n",
            1,
            "expected columns among time, down, up, rtt, jitter, loss, change and no others",
        );
        fails("time,up,UP\n", 1, "expected column up only once");
        fails("down\n1k\n", 1, "expected a column time");
        let rate =
            "expected a rate in bits per second such as 512k or 10M; 0 is a closed link, and not \"512q\"";
        fails("time,down\n0,1k\n\n1,512q\n", 4, &format!("column down: {rate}"));
        fails("time,up\n0,512q\n", 2, &format!("column up: {rate}"));
        let time = "expected seconds such as 12.5, or a time such as 1m30s, and not \"soon\"";
        fails("time,up\nsoon,512q\n", 2, &format!("column time: {time}"));
        let delay = "expected milliseconds such as 600, or a time such as 1.5s, at most 1h, and not \"-1\"";
        fails("time,rtt\n0,-1\n", 2, &format!("column rtt: {delay}"));
        fails("time,jitter\n0,-1\n", 2, &format!("column jitter: {delay}"));
        let loss = "expected a percentage up to 50 with at most four decimals, such as 0.5%, and not \"51%\"";
        fails("time,loss\n0,51%\n", 2, &format!("column loss: {loss}"));
        fails("time,change\n0,jump\n", 2, "column change: expected step, ramp or repeat, and not \"jump\"");
        fails("time,up\n0,1k,2k\n", 2, "expected 2 columns as in the first line, and not more");
        fails("time,up\n,1k\n", 2, "column time: expected a time");
        fails("time,up\n1,1k\n1,2k\n", 3, "column time: expected a later time than in the row before");
    }

    #[test]
    fn a_repeat_is_the_end_of_the_table() {
        let early = "column time: expected repeat after at least one row, and not before it";
        fails("time,change\n1,repeat\n", 2, early);
        fails("time,change\n2,\n1,repeat\n", 3, early);
        fails("time,change\n0,\n0,repeat\n", 3, early);
        fails("time,change\n0,\n1,repeat\n2,\n", 4, "expected nothing after the row whose change is repeat");
        fails(
            "time,change,up\n0,\n1,repeat,1k\n",
            3,
            "column change: expected nothing but a time in the row of repeat",
        );
    }

    proptest! {
        #[test]
        fn any_text_reads_without_panic(text in "(time,down,loss,change\n)?([0-9.,kms%repat\n\" -]|.)*") {
            match Schedule::from_csv(&text) {
                Ok(schedule) => prop_assert!(schedule.points.windows(2).all(|pair| pair[0].at < pair[1].at)),
                Err(error) => prop_assert!(error.line >= 1 && error.message.contains("expected")),
            }
        }
    }
}
