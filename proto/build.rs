//! Compiles the `.proto` files with protox, a compiler written in Rust: no `protoc` needs to be installed.
use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "quorate/v1/proof.proto",
        "quorate/v1/ledger.proto",
        "quorate/v1/admin.proto",
        "quorate/peer/v1/block.proto",
        "quorate/peer/v1/raft.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::SizedCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
