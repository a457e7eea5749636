//! Archives in an S3-compatible object store.
//!
//! An archive asks for files that are written once and for one file that is replaced in one step
//! ([`Storage`](quorate_archive::Storage)). Objects are that: whole or not there, and written under a condition. So a backup in a bucket
//! keeps every promise of one in a directory. What it needs of the store: `If-None-Match` and `If-Match` on `PUT` (Amazon's
//! S3, MinIO and R2 have them), and a listing that shows what was written before.
//!
//! [`Bucket`] speaks for one prefix of one bucket; [`Location`] tells a directory from a URL. Credentials, region and
//! endpoint come from the environment, by the names that Amazon's own tools use.

mod bucket;
mod location;
mod lock;

pub use bucket::{Bucket, BucketError};
pub use location::Location;
