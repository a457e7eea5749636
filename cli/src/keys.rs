//! Keys on the command line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::CliError;

/// How a key is written as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum KeyEncoding {
    // As text.
    #[default]
    Utf8,
    // As hexadecimal digits.
    Hex,
    // As standard base64 with padding.
    Base64,
}

impl KeyEncoding {
    /// The bytes that an argument stands for.
    pub(crate) fn decode(self, argument: &str) -> Result<Vec<u8>, CliError> {
        let wrong = |what: String| {
            CliError::usage(
                format!("the key {argument:?} is not {what}"),
                "--key-as says how keys are written: utf8, hex or base64",
            )
        };
        match self {
            Self::Utf8 => Ok(argument.as_bytes().to_vec()),
            Self::Hex => hex::decode(argument).map_err(|error| wrong(format!("hexadecimal: {error}"))),
            Self::Base64 => STANDARD.decode(argument).map_err(|error| wrong(format!("base64: {error}"))),
        }
    }
}

/// How the keys of a command are written.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct KeyAs {
    /// How keys are written on this command line
    #[arg(long = "key-as", value_name = "ENCODING", default_value = "utf8")]
    pub(crate) encoding: KeyEncoding,
}

/// The key a command is about.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct KeyArgs {
    /// The key, 1 to 1,024 bytes
    #[arg(value_name = "KEY")]
    key: String,

    #[command(flatten)]
    key_as: KeyAs,
}

impl KeyArgs {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, CliError> {
        self.key_as.encoding.decode(&self.key)
    }

    /// The argument itself, for hints.
    pub(crate) fn as_given(&self) -> &str {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_three_ways() {
        assert_eq!(KeyEncoding::Utf8.decode("ä").unwrap(), "ä".as_bytes());
        assert_eq!(KeyEncoding::Hex.decode("00Ff").unwrap(), [0, 255]);
        assert_eq!(KeyEncoding::Base64.decode("/wA=").unwrap(), [255, 0]);
        for (encoding, text) in [(KeyEncoding::Hex, "0"), (KeyEncoding::Base64, "/wA")] {
            let error = encoding.decode(text).unwrap_err();
            assert_eq!(error.exit().0.code(), 2, "{error}");
        }
    }
}
