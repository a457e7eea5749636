//! Being asked to stop.

use std::io::Read as _;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::error::CliError;

/// Listens for the signals that ask a process to stop, from the moment it is made: one that comes during the start is
/// not lost.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
    stdin: Option<oneshot::Receiver<()>>,
}

impl Stop {
    /// Listens for SIGINT and SIGTERM.
    pub(crate) fn listen() -> Result<Self, CliError> {
        let (interrupt, terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup: None, stdin: None })
    }

    /// Takes the end of the terminal as a request too. A server does not: it looks for new certificates then.
    pub(super) fn or_terminal_closes(mut self) -> Result<Self, CliError> {
        self.hangup = Some(on(SignalKind::hangup())?);
        Ok(self)
    }

    /// Takes the end of standard input as a request too: whoever started this process holds the other end, so that it
    /// ends with them, however they end.
    pub(super) fn or_stdin_closes(mut self) -> Self {
        let (closed, stdin) = oneshot::channel();
        // A thread of its own: a read that never returns must not hold back the end of the runtime.
        std::thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            let mut ignored = [0; 256];
            while matches!(input.read(&mut ignored), Ok(1..)) {}
            drop(closed);
        });
        self.stdin = Some(stdin);
        self
    }

    /// Waits for the next request and names it.
    pub(crate) async fn requested(&mut self) -> &'static str {
        let stdin = async {
            match self.stdin.as_mut() {
                // The sender is only ever dropped: an error is the end of standard input.
                Some(stdin) => drop(stdin.await),
                None => std::future::pending().await,
            }
        };
        let hangup = async {
            match self.hangup.as_mut() {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        let named = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = hangup => "the terminal has closed",
            () = stdin => "standard input has ended",
        };
        // It ends once; what comes after the first request is an impatient person's signal.
        self.stdin = None;
        named
    }
}

/// Listens for a signal from now on.
pub(super) fn on(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| CliError::other(format!("cannot listen for signals: {error}")))
}
