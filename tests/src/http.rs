//! A GET or POST over a plain connection: all the tests need of HTTP, and nothing of the product's own.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// The answer: status and body.
#[derive(Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks for a path. Blocking; gives up after five seconds.
///
/// # Errors
/// What the connection says, or an answer that is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    ask(address, "GET", path, "")
}

/// The value of a metric that has one row, its name and labels as they stand; `None` while there is none.
#[must_use]
pub fn metric(address: SocketAddr, name: &str) -> Option<u64> {
    let text = all_metrics(address)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.split('.').next()?.parse().ok()
}

/// The sum of the metrics in whose lines all of these words are; `None` where nobody answers.
#[must_use]
pub fn metrics(address: SocketAddr, words: &[&str]) -> Option<u64> {
    let text = all_metrics(address)?;
    let lines = text.lines().filter(|line| words.iter().all(|word| line.contains(word)));
    Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

fn all_metrics(address: SocketAddr) -> Option<String> {
    String::from_utf8(get(address, "/metrics").ok()?.body).ok()
}

/// Sends a body to a path. Blocking; gives up after five seconds.
///
/// # Errors
/// As of [`get`].
pub fn post(address: SocketAddr, path: &str, body: &str) -> std::io::Result<Answer> {
    ask(address, "POST", path, body)
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n")?;
    write!(stream, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let bad = || std::io::Error::other(format!("{path}: not an HTTP answer"));
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(bad)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    Ok(Answer { status, body: answer.split_off(end + 4) })
}
