//! A terminal of a test's own: a pseudo-terminal, and what would be seen on it.

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

pub struct Terminal {
    screen: Arc<Mutex<Parser>>,
    /// Everything that was ever written to it.
    written: Arc<Mutex<Vec<u8>>>,
    ours: OwnedFd,
    child: Child,
}

const HEIGHT: u16 = 24;

impl Terminal {
    /// Runs a program on a terminal of this width.
    pub fn run(mut command: Command, width: u16) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(&ours, size(width)).unwrap();
        let copy = || Stdio::from(theirs.try_clone().unwrap());
        command.stdin(copy()).stdout(copy());
        command.stderr(Stdio::from(theirs)).kill_on_drop(true);
        let child = command.spawn().unwrap();
        // Its copies of the other side are closed with it, so that the end can be seen here.
        drop(command);
        let screen = Arc::new(Mutex::new(Parser::new(cells(HEIGHT), cells(width), 0)));
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (drawn, kept, mut from) = (screen.clone(), written.clone(), File::from(ours.try_clone().unwrap()));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut buffer) {
                kept.lock().unwrap().extend_from_slice(&buffer[..len]);
                drawn.lock().unwrap().process(&buffer[..len]);
            }
        });
        Terminal { screen, written, ours, child }
    }

    /// What is to be seen.
    pub fn screen(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    pub fn shows_cursor(&self) -> bool {
        !self.screen.lock().unwrap().screen().hide_cursor()
    }

    /// Waits until the screen is as it should be; `what` says how that is.
    pub async fn shows(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        until(&format!("{what} on the screen"), async || {
            screen = self.screen();
            is(&screen)
        })
        .await;
        screen
    }

    /// Makes the terminal wider or narrower, as somebody would with the mouse.
    pub fn resize(&self, width: u16) {
        tcsetwinsize(&self.ours, size(width)).unwrap();
        self.screen.lock().unwrap().screen_mut().set_size(cells(HEIGHT), cells(width));
        self.signal(Signal::WINCH);
    }

    /// Presses a key, or several.
    pub fn press(&self, keys: &[u8]) {
        rustix::io::write(&self.ours, keys).unwrap();
    }

    /// What another program writes on it.
    pub fn another_writes(&self, text: &str) {
        self.screen.lock().unwrap().process(text.as_bytes());
    }

    pub fn signal(&self, signal: Signal) {
        super::signal(&self.child, signal);
    }

    pub async fn exit(&mut self) -> ExitStatus {
        super::soon("the program to end", self.child.wait()).await.unwrap()
    }
}

fn size(width: u16) -> Winsize {
    Winsize { ws_row: HEIGHT, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 }
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("a terminal has some")
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the screen\n{}", self.screen());
        }
    }
}
