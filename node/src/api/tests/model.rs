//! Any history, any question: what the interface proves is what a naive model says.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use quorate_proto::v1;

use super::{
    verify::{get, short},
    world::{World, delete, put},
};

/// What each key held after each log index that wrote it.
type Model = BTreeMap<&'static str, Vec<(u64, String)>>;

const KEYS: [&str; 5] = ["a", "aa", "ab", "b", "c"];

fn held(model: &Model, key: &str, at: u64) -> String {
    let writes = model.get(key).map_or(&[][..], Vec::as_slice);
    writes
        .iter()
        .rfind(|(index, _)| *index <= at)
        .map_or_else(|| "never".to_owned(), |(_, value)| value.clone())
}

/// Transactions: each key is put (true), deleted if it is there (false), or left alone.
fn transactions() -> impl Strategy<Value = Vec<Vec<Option<bool>>>> {
    vec(vec(proptest::option::weighted(0.4, proptest::bool::weighted(0.7)), KEYS.len()), 1..10)
}

async fn play(world: &World, transactions: &[Vec<Option<bool>>]) -> Model {
    let mut model = Model::new();
    for (number, choices) in transactions.iter().enumerate() {
        let mut writes: Vec<v1::Write> = Vec::new();
        let mut shown = Vec::new();
        for (key, choice) in KEYS.iter().zip(choices) {
            let present = !matches!(held(&model, key, u64::MAX).as_str(), "never" | "deleted");
            match choice {
                Some(true) => {
                    writes.push(put(key, &format!("{key} {number}")));
                    shown.push((*key, format!("{key} {number}")));
                }
                Some(false) if present => {
                    writes.push(delete(key));
                    shown.push((*key, "deleted".to_owned()));
                }
                _ => {}
            }
        }
        if !writes.is_empty() {
            let index = world.write(writes).await;
            shown.into_iter().for_each(|(key, value)| model.entry(key).or_default().push((index, value)));
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_key_at_every_index(transactions in transactions()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let model = play(&world, &transactions).await;
            for key in KEYS {
                assert_eq!(short(&get(&world, key, None).await), held(&model, key, u64::MAX));
                for at in 0..world.size() {
                    assert_eq!(short(&get(&world, key, Some(at)).await), held(&model, key, at), "{key} as of {at}");
                }
            }
        });
    }
}
