//! Where an archive is, as people write it.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use quorate_archive::{Folder, Storage};

use crate::bucket::{Bucket, BucketError};

/// A directory, or `s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Directory(PathBuf),
    /// A part of a bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What the names of all objects begin with, without the slash behind it.
        prefix: String,
    },
}

impl Location {
    /// The place itself. A directory need not exist; of a store, the settings in the environment are read, and nothing is sent.
    ///
    /// # Errors
    /// [`BucketError`]: settings that do not fit together.
    pub fn open(&self) -> Result<Arc<dyn Storage>, BucketError> {
        Ok(match self {
            Self::Directory(dir) => Arc::new(Folder::new(dir)),
            Self::S3 { bucket, prefix } => Arc::new(Bucket::from_env(bucket, prefix)?),
        })
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return match text.split_once("://") {
                Some((scheme, _)) => {
                    Err(format!("{scheme}:// is not known here: give a directory, or s3://BUCKET/PREFIX"))
                }
                None if text.is_empty() => Err("give a directory, or s3://BUCKET/PREFIX".to_owned()),
                None => Ok(Self::Directory(PathBuf::from(text))),
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let well_formed = prefix.split('/').all(|part| !["", ".", ".."].contains(&part));
        if bucket.is_empty() || prefix.is_empty() || !well_formed {
            return Err(
                "give s3://BUCKET/PREFIX: a backup has a prefix of its own, without empty parts".to_owned()
            );
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => write!(f, "{}", dir.display()),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["/backup/prod", "prod", "s3://bucket/prod", "s3://bucket/a/b"] {
            assert_eq!(text.parse::<Location>().map(|location| location.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(
            "s3://bucket/prod/".parse(),
            Ok(Location::S3 { bucket: "bucket".to_owned(), prefix: "prod".to_owned() })
        );
        for text in ["", "s3://", "s3://bucket", "s3://bucket/", "s3:///prod", "s3://b/a//c", "s3://b/../c"] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
        assert!("gs://bucket/prod".parse::<Location>().is_err_and(|error| error.contains("gs://")));
    }
}
