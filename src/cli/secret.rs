//! A secret that somebody types: asked for on standard error and read from standard input, where a terminal does not show
//! it. Nothing is kept.

use std::io::{self, IsTerminal as _, Stdin, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Asks for a line in these words; without a terminal it is read without a word.
///
/// # Errors
/// If nothing can be read.
pub(super) fn asked(words: &str) -> io::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    let hidden = if stdin.is_terminal() { Some(Hidden::begin(&stdin)?) } else { None };
    if hidden.is_some() {
        eprint!("{words}");
        io::stderr().flush()?;
    }
    let mut line = Zeroizing::new(String::new());
    let read = stdin.read_line(&mut line);
    if hidden.is_some() {
        eprintln!();
    }
    drop(hidden);
    if read? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A terminal that shows nothing of what is typed, for as long as this is held.
struct Hidden<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn begin(stdin: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Flush, &hidden)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // There is nothing to be done about a terminal that is gone.
        let _ = tcsetattr(self.stdin, OptionalActions::Flush, &self.before);
    }
}
