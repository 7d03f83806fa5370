//! What the keys of `top` do, in a line and on a page of its own. What is done is `top`'s.

use super::view::Sort;

/// The line at the bottom, in so many columns; `takes` is whether keys come from a terminal.
pub(super) fn line(sort: Sort, takes: bool, columns: usize) -> String {
    let name = format!("{sort:?}").to_ascii_lowercase();
    let line = if takes {
        format!("q quit  ? help   sort: r rate  b bytes  e eta  a age  c client   now: {name}")
    } else {
        format!("Ctrl-C ends it   sorted by {name}")
    };
    line.chars().take(columns).collect()
}

/// What `?` shows.
pub(super) const HELP: &str = "\
keys
  q, Escape, Ctrl-C   end it
  r  b  e  a  c       sort by rate, bytes, eta, age, client
  ?                   this page; any key goes back

columns
  RATE     bytes per second over the link, down and up together
  CROSSED  bytes that have crossed the link for it
  OF       how large the response is to be
  ETA      when it is over, as fast as it goes now
A narrow window goes without some: CLASS first, then CROSSED, OF and AGE.

from another terminal
  bentpipe top stop NUMBER               break an exchange off
  bentpipe top class NUMBER background   let others go first
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_fits_into_eighty_columns() {
        for sort in [Sort::Rate, Sort::Client] {
            let said = line(sort, true, 80);
            assert!(said.contains("? help") && said.ends_with(&format!("{sort:?}").to_lowercase()), "{said}");
        }
        assert_eq!(line(Sort::Rate, true, 6), "q quit");
        assert!(line(Sort::Rate, false, 80).starts_with("Ctrl-C"));
        assert!(HELP.lines().all(|line| line.len() < 80));
    }
}
