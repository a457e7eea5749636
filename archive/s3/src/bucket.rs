//! A prefix of a bucket, as a place for an archive.

use std::{fmt, future::Future, io, path::PathBuf, sync::Arc, sync::mpsc, time::Duration};

use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig, UpdateVersion,
    aws::{AmazonS3Builder, Checksum},
    path::Path,
};
use quorate_archive::{ArchiveError, Item, Storage};
use tokio::runtime::Runtime;

use crate::lock::Lock;

/// How long an object may be on its way.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a request that failed is tried again.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// Settings of a store that do not fit together.
#[derive(Debug, thiserror::Error)]
#[error(
    "s3://{bucket}: {reason}; the settings are those of Amazon's tools: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, \
     AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, and AWS_ALLOW_HTTP=true for an endpoint without TLS"
)]
pub struct BucketError {
    bucket: String,
    reason: String,
}

/// A prefix of a bucket. Clones speak for the same.
#[derive(Clone)]
pub struct Bucket {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    prefix: String,
    store: Arc<dyn ObjectStore>,
    // Requests run here, so that a place may be used with and without a runtime around it.
    runtime: Option<Runtime>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.inner.url).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The last one may be dropped where nobody may wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An object and its version.
pub(crate) struct Found {
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: UpdateVersion,
}

impl Bucket {
    /// The objects whose names begin with `prefix` and a slash, in the store that the environment names.
    ///
    /// # Errors
    /// [`BucketError`]. Nothing is sent.
    pub fn from_env(bucket: &str, prefix: &str) -> Result<Self, BucketError> {
        let plain = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true");
        Self::build(AmazonS3Builder::from_env(), plain, bucket, prefix)
    }

    /// The same in a store without TLS, for tests and stores on the same machine.
    ///
    /// # Errors
    /// As [`Bucket::from_env`].
    pub fn at(
        endpoint: &str,
        access_key: &str,
        secret_key: &str,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self, BucketError> {
        let builder = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_access_key_id(access_key)
            .with_secret_access_key(secret_key)
            .with_region("us-east-1");
        Self::build(builder, true, bucket, prefix)
    }

    fn build(builder: AmazonS3Builder, plain: bool, bucket: &str, prefix: &str) -> Result<Self, BucketError> {
        let failed = |reason: String| BucketError { bucket: bucket.to_owned(), reason };
        // One provider in the whole process; whoever came first installed the same.
        rustls::crypto::ring::default_provider().install_default().ok();
        let retry = RetryConfig { max_retries: 10, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
        let options = ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_allow_http(plain);
        let store = builder
            .with_bucket_name(bucket)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(retry)
            .with_client_options(options)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("object-store")
            .enable_all()
            .build()
            .map_err(|error| failed(format!("no thread can be started: {error}")))?;
        let url = format!("s3://{bucket}/{prefix}");
        let inner = Inner { url, prefix: prefix.to_owned(), store: Arc::new(store), runtime: Some(runtime) };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn object(&self, name: &str) -> Path {
        match name {
            "" => Path::from(self.inner.prefix.as_str()),
            name => Path::from(format!("{}/{name}", self.inner.prefix)),
        }
    }

    /// Runs a request to its end, wherever the caller is.
    fn wait<T: Send + 'static>(
        &self,
        action: &'static str,
        name: &str,
        request: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<Result<T, Error>, ArchiveError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let gone = || ArchiveError::io(action, self.path(name))(io::Error::other("the requests have ended"));
        self.inner.runtime.as_ref().ok_or_else(gone)?.spawn(async move {
            // Nobody waits for it any more, at most.
            sender.send(request.await).ok();
        });
        receiver.recv().map_err(|_| gone())
    }

    fn failed(&self, action: &'static str, name: &str, error: Error) -> ArchiveError {
        ArchiveError::io(action, self.path(name))(io::Error::other(whole(&error)))
    }

    /// An object with its version.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Found>, ArchiveError> {
        let (store, object) = (Arc::clone(&self.inner.store), self.object(name));
        let got = self.wait("read", name, async move {
            let found = store.get(&object).await?;
            let version =
                UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            let bytes = found.bytes().await?.to_vec();
            Ok(Found { bytes, version })
        })?;
        match got {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", name, error)),
        }
    }

    /// Writes an object if the condition holds; whether it did.
    pub(crate) fn put(&self, name: &str, bytes: &[u8], mode: PutMode) -> Result<bool, ArchiveError> {
        let (store, object, payload) = (Arc::clone(&self.inner.store), self.object(name), bytes.to_vec());
        let put = self.wait("write", name, async move {
            let options = PutOptions { mode, ..PutOptions::default() };
            store.put_opts(&object, payload.into(), options).await
        })?;
        match put {
            Ok(_) => Ok(true),
            // A request that was answered and tried again meets its own object.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                Ok(self.find(name)?.is_some_and(|found| found.bytes == bytes))
            }
            Err(error) => Err(self.failed("write", name, error)),
        }
    }
}

/// What an error says, with what is behind it.
fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl Storage for Bucket {
    fn path(&self, name: &str) -> PathBuf {
        match name {
            "" => PathBuf::from(&self.inner.url),
            name => PathBuf::from(format!("{}/{name}", self.inner.url)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Item>, ArchiveError> {
        let (store, prefix) = (Arc::clone(&self.inner.store), self.object(folder));
        let listed =
            self.wait("list", folder, async move { store.list_with_delimiter(Some(&prefix)).await })?;
        let listed = listed.map_err(|error| self.failed("list", folder, error))?;
        let last = |path: &Path| path.filename().unwrap_or_default().to_owned();
        let files = listed
            .objects
            .iter()
            .map(|object| Item { name: last(&object.location), bytes: Some(object.size) });
        let folders = listed.common_prefixes.iter().map(|path| Item { name: last(path), bytes: None });
        let mut items: Vec<Item> = files.chain(folders).collect();
        items.sort();
        Ok(items)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        Ok(self.find(name)?.map(|found| found.bytes))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        if self.put(name, bytes, PutMode::Create)? {
            return Ok(());
        }
        let problem =
            "an object of this name appeared since this run began: another process writes here, too";
        Err(ArchiveError::file(self.path(name), problem))
    }

    fn replace(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<(), ArchiveError> {
        let busy = || {
            let hint = "; it has replaced the manifest that this run began with".to_owned();
            ArchiveError::Busy { path: self.path(""), hint }
        };
        let found = self.find(name)?;
        if found.as_ref().map(|found| found.bytes.as_slice()) != old {
            return Err(busy());
        }
        let mode = found.map_or(PutMode::Create, |found| PutMode::Update(found.version));
        if self.put(name, new, mode)? { Ok(()) } else { Err(busy()) }
    }

    fn remove(&self, name: &str) -> Result<(), ArchiveError> {
        let (store, object) = (Arc::clone(&self.inner.store), self.object(name));
        match self.wait("remove", name, async move { store.delete(&object).await })? {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove", name, error)),
        }
    }

    fn lock(&self, name: &str) -> Result<Box<dyn Send + Sync>, ArchiveError> {
        Ok(Box::new(Lock::take(self, name)?))
    }
}
