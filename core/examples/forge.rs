//! Forges proofs, notes, receipts, answers and evidence at random, and prints which check refused how many.
//!
//! `cargo run -p quorate-core --example forge -- --count 1000000 --seed 4`; ends with 1 if one was accepted.
#![allow(clippy::unwrap_used, reason = "it shares the tests' model ledger")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

#[path = "../tests/forge/machine/mod.rs"]
mod machine;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut count, mut seed) = (1_000_000, 4);
    while let Some(name) = arguments.next() {
        let number = arguments.next().and_then(|text| text.parse().ok());
        match (name.as_str(), number) {
            ("--count", Some(number)) => count = number,
            ("--seed", Some(number)) => seed = number,
            _ => {
                eprintln!("usage: forge [--count NUMBER] [--seed NUMBER]");
                return ExitCode::from(2);
            }
        }
    }
    println!("{count} forgeries, seed {seed}");
    let tally = machine::forge(count, seed);
    print!("{tally}");
    for accepted in tally.accepted.iter().take(10) {
        eprintln!("ACCEPTED: {accepted}");
    }
    if tally.accepted.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
