//! An S3-compatible store that another project wrote, on a port of its own.

use std::{fs, net::TcpListener, path::PathBuf, thread};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;

/// Who may use it.
pub(crate) const ACCESS_KEY: &str = "AKEXAMPLE";
/// What they sign with.
pub(crate) const SECRET_KEY: &str = "an-example-of-a-secret";
/// The bucket that it has.
pub(crate) const BUCKET: &str = "backups";

/// A store with a bucket, until the process ends. Its objects are files in a directory.
pub(crate) struct Store {
    /// Where it answers.
    pub(crate) endpoint: String,
    dir: tempfile::TempDir,
}

impl Store {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(BUCKET)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(dir.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    let service = service.clone();
                    tokio::spawn(async move {
                        let builder = Builder::new(TokioExecutor::new());
                        builder.serve_connection(TokioIo::new(socket), service).await.ok();
                    });
                }
            });
        });
        Self { endpoint, dir }
    }

    /// The file behind an object.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(BUCKET).join(name)
    }
}
