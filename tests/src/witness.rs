//! An outside witness as simple as it can be: one thread, no files, and whatever answers a test wants (c2sp.org/tlog-witness).
//!
//! It reads HTTP and the request itself, with nothing of the product's own code but keys and hashes.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_core::{hash::Hash, key::CosignerKey, note::SignedNote, position::TreeSize, proof::consistency};

use crate::clock::micros_from_now;

/// How a witness answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Honest,
    /// With this status and these words.
    Refuses(u16, &'static str),
    /// With a signature by another key of the same name.
    WrongKey,
    /// With a signature of another size.
    OtherSize,
    /// With something that is no signature.
    Garbage,
    /// With a body that does not end.
    Endless,
    /// That it has a size which no log has.
    Ahead,
    /// Not at all.
    Silent,
}

/// What it remembers, and how it answers.
#[derive(Debug)]
struct Memory {
    mood: Mood,
    logs: BTreeMap<String, (TreeSize, Hash)>,
    /// Requests that were answered as they should be, and conflicts among them.
    cosigned: u64,
    conflicts: u64,
}

/// A witness that runs until the test ends.
#[derive(Debug, Clone)]
pub struct NaiveWitness {
    /// Where it listens.
    pub address: SocketAddr,
    /// The public half of its key.
    pub vkey: String,
    memory: Arc<Mutex<Memory>>,
}

impl NaiveWitness {
    /// Starts one with this name of its key.
    ///
    /// # Panics
    /// If it cannot listen.
    pub fn start(name: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let key = Arc::new(CosignerKey::from_seed(name, &[9; 32]).expect("a key"));
        let memory = Memory { mood: Mood::Honest, logs: BTreeMap::new(), cosigned: 0, conflicts: 0 };
        let witness = Self {
            address: listener.local_addr().expect("an address"),
            vkey: key.verifier().to_string(),
            memory: Arc::new(Mutex::new(memory)),
        };
        let serving = witness.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (witness, key) = (serving.clone(), Arc::clone(&key));
                // What goes wrong with a connection shows in what the nodes say of it.
                std::thread::spawn(move || witness.converse(stream, &key).ok());
            }
        });
        witness
    }

    /// Lines of a node's configuration that ask it.
    #[must_use]
    pub fn settings(&self) -> String {
        let Self { address, vkey, .. } = self;
        format!(
            "\n[[witness]]\nname = \"naive\"\nurl = \"http://{address}/prefix/\"\nvkey = \"{vkey}\"\nmin_interval_ms = 50\n\
             timeout_ms = 1000\n"
        )
    }

    /// Answers like this from now on.
    pub fn becomes(&self, mood: Mood) {
        self.memory().mood = mood;
    }

    /// How often it cosigned, and how often it said that it has another size.
    #[must_use]
    pub fn answered(&self) -> (u64, u64) {
        let memory = self.memory();
        (memory.cosigned, memory.conflicts)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request for each connection.
    fn converse(&self, mut stream: TcpStream, key: &CosignerKey) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut received = Vec::new();
        let (head, body) = loop {
            let mut part = [0_u8; 4096];
            let n = stream.read(&mut part)?;
            received.extend_from_slice(&part[..n]);
            let Some(end) = received.windows(4).position(|w| w == b"\r\n\r\n") else {
                if n == 0 {
                    return Ok(());
                }
                continue;
            };
            let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if received.len() >= end + 4 + length.unwrap_or(0) {
                break (head, String::from_utf8_lossy(&received[end + 4..]).into_owned());
            }
        };
        let (status, kind, body) = if head.starts_with("post /prefix/add-checkpoint ") {
            match self.answer(&body, key) {
                Some(answer) => answer,
                None => {
                    std::thread::sleep(Duration::from_secs(3));
                    return Ok(());
                }
            }
        } else {
            (404, "text/plain", "another path\n".to_owned())
        };
        let length = if self.memory().mood == Mood::Endless { 1 << 40 } else { body.len() };
        write!(stream, "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n")?;
        write!(stream, "Connection: close\r\n\r\n{body}")?;
        if length > body.len() {
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        }
        Ok(())
    }

    fn answer(&self, body: &str, key: &CosignerKey) -> Option<(u16, &'static str, String)> {
        let mut memory = self.memory();
        let text = |status, words: &str| Some((status, "text/plain; charset=utf-8", format!("{words}\n")));
        let size = |size: TreeSize| Some((409, "text/x.tlog.size", format!("{size}\n")));
        match memory.mood {
            Mood::Silent => return None,
            Mood::Refuses(status, words) => return text(status, words),
            Mood::Garbage | Mood::Endless => return text(200, "\u{2014} nobody zzzz"),
            Mood::Ahead => return size(TreeSize::new(1 << 50)),
            Mood::Honest | Mood::WrongKey | Mood::OtherSize => {}
        }
        let (head, note) = body.split_once("\n\n")?;
        let mut lines = head.lines();
        let old: TreeSize = TreeSize::new(lines.next()?.strip_prefix("old ")?.parse().ok()?);
        let hash = |line| Hash::try_from(STANDARD.decode(line).ok()?.as_slice()).ok();
        let path: Vec<Hash> = lines.map(hash).collect::<Option<_>>()?;
        let mut checkpoint = SignedNote::parse(note).ok()?.checkpoint().clone();
        let (last, root) =
            memory.logs.get(&checkpoint.origin).copied().unwrap_or((TreeSize::ZERO, Hash::ZERO));
        if old != last {
            memory.conflicts += 1;
            return size(last);
        }
        let holds = match last {
            TreeSize::ZERO => path.is_empty(),
            last => consistency::verify(last, &root, checkpoint.size, &checkpoint.root, &path).is_ok(),
        };
        if !holds {
            return text(422, "no proof");
        }
        let stranger = CosignerKey::from_seed(key.verifier().name(), &[8; 32]).ok()?;
        let signer = if memory.mood == Mood::WrongKey { &stranger } else { key };
        match memory.mood {
            Mood::Honest => {
                memory.logs.insert(checkpoint.origin.clone(), (checkpoint.size, checkpoint.root));
                memory.cosigned += 1;
            }
            Mood::OtherSize => checkpoint.size = TreeSize::new(checkpoint.size.get() + 1),
            _ => {}
        }
        let cosignature = signer.cosign(&checkpoint, micros_from_now(Duration::ZERO) / 1_000_000).ok()?;
        text(200, &cosignature.to_line().to_string())
    }
}
