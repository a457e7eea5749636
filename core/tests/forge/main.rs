//! No forgery is believed: structure-aware forgeries of everything a client verifies, and the checks that refuse them.
//!
//! 50,000 of them; `QUORATE_FORGERIES` and `QUORATE_FORGE_SEED` choose others. `cargo run -p quorate-core --example forge`
//! does the same and prints the table.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::cast_possible_truncation, reason = "tests: small numbers")]

mod machine;

use machine::forge;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn no_forgery_is_accepted_and_nine_of_ten_get_past_the_decoder() {
    let (count, seed) = (variable("QUORATE_FORGERIES", 50_000), variable("QUORATE_FORGE_SEED", 4));
    println!("{count} forgeries, seed {seed}");
    let tally = forge(count, seed);
    println!("{tally}");
    assert!(tally.accepted.is_empty(), "seed {seed}: accepted: {:#?}", tally.accepted.first());
    let (refused, deep) = tally.refused();
    assert_eq!(refused, count);
    assert!(deep * 10 >= refused * 9, "only {deep} of {refused} get past the decoder");
    assert_eq!(tally.kinds(), 15, "each kind is forged");
}
