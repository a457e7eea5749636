//! One plain HTTP GET, for the ports of nodes.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Most bytes of an answer that are read: a status line, headers, and a sentence.
const MAX_ANSWER: u64 = 64 << 10;

/// What a node answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body, without white space around it.
    pub(super) body: String,
}

/// Asks `address` (`host:port`) for `path`. Waits as long as the other side lets it: set a deadline around it.
pub(super) async fn get(address: &str, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: quorate\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    parse(&answer)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers there is no HTTP server"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    let status = words.next().filter(|version| version.starts_with("HTTP/1.")).and(words.next())?;
    Some(Answer { status: status.parse().ok()?, body: body.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn status_and_body_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0);
            }
            let answer = b"HTTP/1.1 503 Service Unavailable\r\nX: y\r\n\r\ncatching up\n";
            stream.write_all(answer).await.unwrap();
            request
        });
        let answer = get(&address, "/readyz").await.unwrap();
        assert_eq!(answer, Answer { status: 503, body: "catching up".to_owned() });
        assert!(server.await.unwrap().starts_with(b"GET /readyz HTTP"));
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for answer in
            ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\n"]
        {
            assert_eq!(parse(answer.as_bytes()), None, "{answer:?}");
        }
    }
}
