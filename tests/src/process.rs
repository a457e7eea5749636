//! Runs commands to their end, within a bound.

use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::Duration,
};

use crate::clock::now;

/// Runs a command, reads everything it says, and gives both with its status.
///
/// # Panics
/// If it cannot be run, or does not end within `limit`; it is killed then.
pub fn output(command: &mut Command, limit: Duration) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let ended = wait(&mut child, limit);
    if !ended {
        child.kill().expect("a process of ours can be killed");
    }
    let status = child.wait().expect("a process of ours can be waited for");
    let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().expect("the reader ends"));
    assert!(ended, "{command:?} did not end within {limit:?}:\n{}", String::from_utf8_lossy(&stderr));
    Output { status, stdout, stderr }
}

/// Waits until a process ends; `false` if it does not within `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> bool {
    let start = now();
    while child.try_wait().expect("a process of ours can be asked").is_none() {
        if now() - start > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Sends a signal such as `CONT` to a process of ours.
pub fn send(pid: u32, signal: &str) {
    let sent = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status();
    assert!(sent.expect("kill can be run").success(), "a process of ours can be signalled");
}

/// Sends a signal such as `TERM` and waits until the process has ended; one that does not within `limit` is killed.
pub fn signal(child: &mut Child, signal: &str, limit: Duration) -> ExitStatus {
    send(child.id(), signal);
    if !wait(child, limit) {
        child.kill().expect("a process of ours can be killed");
    }
    child.wait().expect("a process of ours can be waited for")
}

/// Reads a pipe to its end, so that a process that says much does not wait for a reader.
fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        bytes
    })
}
