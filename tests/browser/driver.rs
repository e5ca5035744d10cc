//! A browser with an empty profile, and the actions of a user in it.

use super::binary;
use crate::support::{TIMEOUT, http, soon, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use tempfile::TempDir;
use thirtyfour::common::log::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A running browser.
pub struct Browser {
    driver: WebDriver,
    /// Address of chromedriver.
    address: String,
    _chromedriver: Child,
    _profile: TempDir,
}

/// Size and kind of the screen.
#[derive(Clone, Copy)]
pub enum Screen {
    Desktop,
    Phone,
}

impl Browser {
    /// Opens a page on a desktop screen.
    pub async fn open(url: &str) -> Browser {
        Browser::open_on(Screen::Desktop, url).await
    }

    /// Opens a page on a screen.
    pub async fn open_on(screen: Screen, url: &str) -> Browser {
        let (chromedriver, address) = start_chromedriver().await;
        let profile = tempfile::tempdir().unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        capabilities.set_binary(&binary::find()).unwrap();
        for argument in ARGUMENTS {
            capabilities.add_arg(argument).unwrap();
        }
        if rustix::process::geteuid().is_root() {
            capabilities.add_arg("--no-sandbox").unwrap();
        }
        capabilities.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        let (width, height, mobile) = match screen {
            Screen::Desktop => (1200, 900, false),
            Screen::Phone => (390, 844, true),
        };
        let metrics = json!({"width": width, "height": height, "pixelRatio": 2.0, "mobile": mobile, "touch": mobile});
        capabilities.add_experimental_option("mobileEmulation", json!({"deviceMetrics": metrics})).unwrap();
        capabilities.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        let connect = WebDriver::new(format!("http://{address}"), capabilities);
        let driver = timeout(4 * TIMEOUT, connect).await.expect("chromium starts in time").expect("chromium starts");
        let browser = Browser { driver, address, _chromedriver: chromedriver, _profile: profile };
        browser.go(url).await;
        browser
    }

    /// Opens another page.
    pub async fn go(&self, url: &str) {
        soon(url, self.driver.goto(url)).await.unwrap();
    }

    /// Returns the handle of the current tab.
    pub async fn tab(&self) -> WindowHandle {
        soon("the tab", self.driver.window()).await.unwrap()
    }

    /// Opens a page in a new tab, and makes it the current one.
    pub async fn open_tab(&self, url: &str) -> WindowHandle {
        let tab = soon("a new tab", self.driver.new_tab()).await.unwrap();
        self.show_tab(&tab).await;
        self.go(url).await;
        tab
    }

    /// Makes a tab the current one.
    pub async fn show_tab(&self, tab: &WindowHandle) {
        soon("the tab", self.driver.switch_to_window(tab.clone())).await.unwrap();
    }

    /// Closes the current tab.
    pub async fn close_tab(&self) {
        soon("the end of the tab", self.driver.close_window()).await.unwrap();
    }

    /// Reloads the page.
    pub async fn reload(&self) {
        soon("the page again", self.driver.refresh()).await.unwrap();
    }

    /// Sets the time zone of the pages that are loaded from now on.
    pub async fn set_time_zone(&self, zone: &str) {
        self.command("Emulation.setTimezoneOverride", json!({"timezoneId": zone})).await;
    }

    /// Sets the size of the window in CSS pixels.
    pub async fn set_size(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Runs a script in each page that is loaded from now on, before the page's own scripts.
    pub async fn run_first(&self, script: &str) {
        self.command("Page.addScriptToEvaluateOnNewDocument", json!({"source": script})).await;
    }

    /// Pinches with two fingers around the middle of the first element that matches a selector. A `scale` above 1
    /// spreads the fingers.
    pub async fn pinch(&self, selector: &str, scale: f64) {
        let script = format!(
            "const box = document.querySelector({selector:?}).getBoundingClientRect();
             return [box.x + box.width / 2, box.y + box.height / 2]"
        );
        let middle = self.run(&script).await;
        let gesture = json!({"x": middle[0], "y": middle[1], "scaleFactor": scale, "gestureSourceType": "touch"});
        self.command("Input.synthesizePinchGesture", gesture).await;
    }

    /// Turns the wheel over the middle of the first element that matches a selector.
    pub async fn turn_wheel(&self, selector: &str, x: i32, y: i32) {
        let script = format!(
            "const box = document.querySelector({selector:?}).getBoundingClientRect();
             return [box.x + box.width / 2, box.y + box.height / 2]"
        );
        let middle = self.run(&script).await;
        let event = json!({"type": "mouseWheel", "x": middle[0], "y": middle[1], "deltaX": x, "deltaY": y});
        self.command("Input.dispatchMouseEvent", event).await;
    }

    /// Drags the middle of the first element that matches a selector to the right.
    pub async fn drag(&self, selector: &str, pixels: i64) {
        let element = soon(selector, self.driver.find(By::Css(selector))).await.unwrap();
        let actions = self.driver.action_chain().move_to_element_center(&element).click_and_hold();
        let actions = actions.move_by_offset(pixels / 2, 0).move_by_offset(pixels - pixels / 2, 0).release();
        soon("a drag", actions.perform()).await.unwrap();
    }

    /// Presses a key while Shift is held.
    pub async fn press_with_shift(&self, key: Key) {
        let actions = self.driver.action_chain().key_down(Key::Shift).send_keys(key).key_up(Key::Shift);
        soon("keys", actions.perform()).await.unwrap();
    }

    /// Sends a command of the Chrome DevTools Protocol.
    async fn command(&self, name: &str, parameters: Value) {
        let command = json!({"cmd": name, "params": parameters});
        let url = format!("http://{}/session/{}/goog/cdp/execute", self.address, self.driver.session_id());
        let answer = soon(name, http().post(url).body(command.to_string()).send()).await.unwrap();
        let status = answer.status();
        assert_eq!(status, 200, "{name}: {}", answer.text().await.unwrap());
    }

    /// Runs a script, and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        let result = soon(script, self.driver.execute(script, vec![])).await;
        result.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// Returns the visible text of the first element that matches a selector, or an empty text if it is hidden.
    pub async fn text(&self, selector: &str) -> String {
        let script = format!(
            "const it = document.querySelector({selector:?});
             return it?.checkVisibility() ? (it.innerText ?? it.textContent).replace(/\\n+/g, '\\n').trim() : ''"
        );
        self.run(&script).await.as_str().unwrap().to_owned()
    }

    /// Returns an attribute of the first element that matches a selector.
    pub async fn attribute(&self, selector: &str, name: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.getAttribute({name:?}) ?? ''");
        self.run(&script).await.as_str().unwrap().to_owned()
    }

    /// Returns the number of elements that match a selector.
    pub async fn count(&self, selector: &str) -> u64 {
        self.run(&format!("return document.querySelectorAll({selector:?}).length")).await.as_u64().unwrap()
    }

    /// Returns the title of the page.
    pub async fn title(&self) -> String {
        soon("the title", self.driver.title()).await.unwrap()
    }

    /// Waits until `wanted` is true for the text of an element, and returns the text.
    pub async fn until_text(&self, selector: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        until(&format!("the text of {selector}"), async || {
            text = self.text(selector).await;
            wanted(&text)
        })
        .await;
        text
    }

    /// Waits until the page shows a price and a live connection.
    pub async fn until_live(&self) {
        self.until_text("#state", |text| text == "Live").await;
        self.until_text(".quote:not([hidden]) .price", |text| text.len() > 5).await;
    }

    /// Makes the actions that follow act in a frame of the page.
    pub async fn enter_frame(&self, number: u16) {
        soon("a frame", self.driver.enter_frame(number)).await.unwrap();
    }

    /// Makes the actions that follow act in the page again.
    pub async fn leave_frame(&self) {
        soon("the page", self.driver.enter_default_frame()).await.unwrap();
    }

    /// Clicks on the first element that matches a selector.
    pub async fn click(&self, selector: &str) {
        let element = soon(selector, self.driver.find(By::Css(selector))).await.unwrap();
        soon("a click", element.click()).await.unwrap();
    }

    /// Presses a key, or the keys of a text.
    pub async fn press(&self, key: impl Into<TypingData>) {
        soon("a key", self.driver.action_chain().send_keys(key).perform()).await.unwrap();
    }

    /// Presses a key together with Control.
    pub async fn press_control(&self, key: char) {
        let keys = self.driver.action_chain().key_down(Key::Control).send_keys(key.to_string()).key_up(Key::Control);
        soon("keys", keys.perform()).await.unwrap();
    }

    /// Types a text.
    pub async fn type_text(&self, text: &str) {
        soon(text, self.driver.action_chain().send_keys(text).perform()).await.unwrap();
    }

    /// Moves the pointer to the middle of the first element that matches a selector.
    pub async fn point_at(&self, selector: &str) {
        let element = soon(selector, self.driver.find(By::Css(selector))).await.unwrap();
        soon("the pointer", self.driver.action_chain().move_to_element_center(&element).perform()).await.unwrap();
    }

    /// Returns the messages of the browser's console since the last call: errors, policy violations, failed requests.
    pub async fn console_messages(&self) -> Vec<String> {
        let log = soon("the log", self.driver.browser_log()).await.unwrap();
        log.iter().filter(|entry| entry.level != "INFO").map(|entry| format!("{entry:?}")).collect()
    }

    /// Reads the curve point by point with the arrow keys, as a screen reader does.
    pub async fn read_curve(&self) -> Vec<String> {
        self.run("document.getElementById('chart').focus()").await;
        self.press(Key::Home).await;
        let number = async |name: &str| self.attribute("#chart", name).await.parse::<u64>().unwrap();
        // This reads up to the current end, because the curve grows meanwhile.
        let end = number("aria-valuemax").await;
        let mut read = vec![self.attribute("#chart", "aria-valuetext").await];
        while number("aria-valuenow").await < end {
            self.press(Key::Right).await;
            read.push(self.attribute("#chart", "aria-valuetext").await);
        }
        read
    }
}

/// Starts chromedriver, which chooses a port. Returns the process and its address.
async fn start_chromedriver() -> (Child, String) {
    // chromedriver chooses a free IPv4 port, and fails if another program uses the same port in IPv6.
    for _ in 0..10 {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("chromedriver is installed (see `make browser`)");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        while let Some(line) = soon("chromedriver", lines.next_line()).await.unwrap() {
            if let Some((_, port)) = line.split_once("successfully on port ") {
                return (child, format!("127.0.0.1:{}", port.trim_end_matches('.')));
            }
        }
    }
    panic!("chromedriver does not start")
}

impl Drop for Browser {
    /// Ends Chromium, even if a test fails. The request to chromedriver goes over a blocking socket, because the
    /// library would need the runtime, which is blocked here.
    fn drop(&mut self) {
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            self.driver.session_id()
        );
        self.driver.clone().leak().ok();
        let end = || {
            let mut socket = TcpStream::connect(&self.address)?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            socket.write_all(request.as_bytes())?;
            // The response comes when Chromium has ended.
            socket.read(&mut [0; 64])
        };
        if let Err(error) = end() {
            eprintln!("Chromium may still run: {error}");
        }
    }
}

/// Arguments of the browser. With them it does not use the network by itself.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en-US",
    // Containers have little shared memory.
    "--disable-dev-shm-usage",
];
