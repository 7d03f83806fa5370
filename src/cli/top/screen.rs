//! The terminal that `top` draws on: keys as they are pressed, and everything as it was when it ends. Plain ANSI.

use std::io::{IsTerminal as _, Read as _, Write as _, stdin, stdout};
use std::time::Duration;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

/// A terminal, set so that keys come one by one; set back when dropped.
pub(super) struct Screen {
    /// How it was, where keys come from a terminal.
    before: Option<Termios>,
}

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Other(u8),
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn begin() -> Self {
        let before = stdin().is_terminal().then(|| tcgetattr(stdin()).ok()).flatten();
        let before = before.filter(|before| {
            let mut keys = before.clone();
            // Keys at once and unseen; Ctrl-C is one of them, so that nobody is left with a terminal in this state. A read
            // comes back after a second if nothing is pressed.
            keys.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            keys.special_codes[SpecialCodeIndex::VMIN] = 0;
            keys.special_codes[SpecialCodeIndex::VTIME] = 10;
            tcsetattr(stdin(), OptionalActions::Now, &keys).is_ok()
        });
        let _ = write!(stdout(), "\u{1b}[2J");
        Self { before }
    }

    /// Columns and lines that there are.
    pub(super) fn size(&self) -> (usize, usize) {
        let size = tcgetwinsize(stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
    }

    /// Whether keys come from a terminal.
    pub(super) fn takes_keys(&self) -> bool {
        self.before.is_some()
    }

    /// Shows `text` in place of what was there, and `bottom` in the last line of a screen of so many columns and lines.
    pub(super) fn draw(
        &mut self,
        text: &str,
        bottom: &str,
        (columns, lines): (usize, usize),
    ) -> std::io::Result<()> {
        let mut drawn = "\u{1b}[H".to_owned();
        for line in text.lines().take(lines.saturating_sub(1)) {
            drawn.extend(line.chars().take(columns));
            drawn += "\u{1b}[K\n";
        }
        // Nothing behind it: a line more would move all of them.
        drawn += &format!("\u{1b}[J\u{1b}[{lines};1H{bottom}\u{1b}[K");
        let mut out = stdout().lock();
        out.write_all(drawn.as_bytes())?;
        out.flush()
    }

    /// What is pressed in the next `period`; none if nothing is.
    pub(super) fn key(&mut self, period: Duration) -> Option<Key> {
        if self.before.is_none() {
            std::thread::sleep(period);
            return None;
        }
        let mut key = [0];
        match stdin().lock().read(&mut key) {
            Ok(0) => None,
            Ok(_) => Some(meant(key[0])),
            // The terminal is gone.
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => Some(Key::Quit),
            Err(_) => None,
        }
    }
}

/// q, Escape, Ctrl-C, Ctrl-D and Ctrl-\ end it.
fn meant(key: u8) -> Key {
    match key {
        b'q' | b'Q' | 0x1b | 0x03 | 0x04 | 0x1c => Key::Quit,
        key => Key::Other(key),
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
            // The keys stand in the last line.
            let _ = writeln!(stdout());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_several_ways_out() {
        for key in [b'q', 3, 4, 27] {
            assert_eq!(meant(key), Key::Quit);
        }
        assert_eq!(meant(b'b'), Key::Other(b'b'));
    }
}
