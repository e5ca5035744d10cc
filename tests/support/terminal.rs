//! A pseudo-terminal, and an emulator that knows the text on its screen.

use super::until;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::Read;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use tokio::process::{Child, Command};
use vt100::Parser;

/// A program on a terminal.
pub struct Terminal {
    screen: Arc<Mutex<Parser>>,
    /// Everything that the program has written.
    written: Arc<Mutex<Vec<u8>>>,
    master: OwnedFd,
    child: Child,
}

/// Number of lines of the terminal.
const HEIGHT: u16 = 24;

impl Terminal {
    /// Runs a program on a terminal of this width.
    pub fn run(mut command: Command, width: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(&master, size(width)).unwrap();
        let copy = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(copy()).stdout(copy());
        command.stderr(Stdio::from(slave)).kill_on_drop(true);
        let child = command.spawn().unwrap();
        // The command holds copies of the slave side. They are closed so that reading ends when the program does.
        drop(command);
        let screen = Arc::new(Mutex::new(Parser::new(cells(HEIGHT), cells(width), 0)));
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (drawn, kept, mut from) = (screen.clone(), written.clone(), File::from(master.try_clone().unwrap()));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut buffer) {
                kept.lock().unwrap().extend_from_slice(&buffer[..len]);
                drawn.lock().unwrap().process(&buffer[..len]);
            }
        });
        Terminal { screen, written, master, child }
    }

    /// Returns the text on the screen.
    pub fn screen(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Returns everything that the program has written.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Returns true if the cursor is visible.
    pub fn shows_cursor(&self) -> bool {
        !self.screen.lock().unwrap().screen().hide_cursor()
    }

    /// Waits until `is` is true for the text on the screen, and returns that text. `what` describes the expected text
    /// in the error after a timeout.
    pub async fn shows(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        until(&format!("{what} on the screen"), async || {
            screen = self.screen();
            is(&screen)
        })
        .await;
        screen
    }

    /// Changes the width, and sends the SIGWINCH that the kernel would send if this were the program's controlling
    /// terminal.
    pub fn resize(&self, width: u16) {
        tcsetwinsize(&self.master, size(width)).unwrap();
        self.screen.lock().unwrap().screen_mut().set_size(cells(HEIGHT), cells(width));
        self.signal(Signal::WINCH);
    }

    /// Presses keys.
    pub fn press(&self, keys: &[u8]) {
        rustix::io::write(&self.master, keys).unwrap();
    }

    /// Draws text on the screen, as if another program had written to the same terminal.
    pub fn write_as_another(&self, text: &str) {
        self.screen.lock().unwrap().process(text.as_bytes());
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        super::signal(&self.child, signal);
    }

    /// Waits for the program to end.
    pub async fn exit(&mut self) -> ExitStatus {
        super::soon("the program to end", self.child.wait()).await.unwrap()
    }
}

fn size(width: u16) -> Winsize {
    Winsize { ws_row: HEIGHT, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 }
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("a terminal has lines and columns")
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the screen\n{}", self.screen());
        }
    }
}
