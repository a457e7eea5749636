//! Small disks of their own for nodes: a file with ext4 in it, mounted over a node's data directory. They can be filled to
//! the last byte, and their power can be cut.
//!
//! Needs root. Where that is not to be had a test says loudly that it was skipped, or fails if `QUORATE_NO_SKIP` is set.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{clock::now, cluster::Cluster, process};

/// How long a command about a disk may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Shuts a file system down without writing its log: what was not synced is gone, as after a power cut.
const CUT: &str = r#"open(F, "<", $ARGV[0]) or die "open: $!"; my $how = pack("L", 2); ioctl(F, 0x8004587D, $how) or die "ioctl: $!";"#;

/// Whether disks can be made here.
///
/// # Panics
/// If they cannot, and skipping is not allowed.
pub fn available(test: &str) -> bool {
    let can = |program: &str, argument: &str| {
        Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
    };
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let found =
        root && can("losetup", "--version") && can("mkfs.ext4", "-V") && can("perl", "-v") && try_one();
    let must = std::env::var_os("QUORATE_NO_SKIP").is_some_and(|value| !value.is_empty());
    assert!(found || !must, "loop devices cannot be mounted, and QUORATE_NO_SKIP is set: run as root");
    if !found {
        eprintln!("\n!!! SKIPPED: {test}: loop devices cannot be mounted (root, losetup, mkfs.ext4, perl)\n");
    }
    found
}

/// Containers often have root without loop devices.
fn try_one() -> bool {
    let Ok(dir) = tempfile::tempdir() else { return false };
    let (image, at) = (dir.path().join("image"), dir.path().join("at"));
    let made =
        File::create(&image).and_then(|file| file.set_len(8 << 20)).is_ok() && fs::create_dir(&at).is_ok();
    let mkfs = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status();
    if !made || !mkfs.is_ok_and(|status| status.success()) {
        return false;
    }
    let mounted = Command::new("mount").args(["-o", "loop"]).args([&image, &at]).output();
    let mounted = mounted.is_ok_and(|output| output.status.success());
    if mounted {
        Command::new("umount").arg(&at).status().ok();
    }
    mounted
}

/// A disk. Dropped before the cluster, it is taken away from nodes that still run, so that nothing stays mounted.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// A new disk of so many MiB for the data of a node that never ran.
    pub fn of(cluster: &Cluster, node: u64, mib: u64) -> Self {
        let image = cluster.path().join(format!("disk-{node}"));
        let at = cluster.path().join(format!("node-{node}/data"));
        File::create(&image).expect("an image").set_len(mib << 20).expect("a sparse file");
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image));
        fs::create_dir_all(&at).expect("a mount point");
        let disk = Self { image, at };
        disk.mount();
        fs::set_permissions(&disk.at, fs::Permissions::from_mode(0o700)).expect("a private directory");
        disk
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).args([&self.image, &self.at]));
    }

    /// Cuts the power: nothing can be read or written any more, and what was not synced is gone.
    pub fn cut_power(&self) {
        run(Command::new("perl").args(["-e", CUT]).arg(&self.at));
    }

    /// Powers it up again. Nobody uses it meanwhile.
    pub fn power_up(&self) {
        unmount(&self.at);
        self.mount();
    }

    /// Free space, MiB.
    pub fn free_mib(&self) -> u64 {
        let output = process::output(Command::new("df").args(["-m", "--output=avail"]).arg(&self.at), LIMIT);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().last().and_then(|line| line.trim().parse().ok()).expect("df says a number")
    }

    /// Takes space until so many MiB are left; 0: until nothing more can be written.
    pub fn fill(&self, leave_mib: u64) {
        let path = self.ballast();
        let mut ballast = File::options().create(true).append(true).open(path).expect("a file can be made");
        let piece = vec![7; 1 << 20];
        while leave_mib == 0 || self.free_mib() > leave_mib {
            if ballast.write_all(&piece).and_then(|()| ballast.sync_all()).is_err() {
                return;
            }
        }
    }

    /// Gives the space back.
    pub fn empty(&self) {
        fs::remove_file(self.ballast()).expect("the ballast can be removed");
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("lost+found/ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").args(["-l"]).arg(&self.at).status().ok();
        fs::remove_file(&self.image).ok();
    }
}

/// Unmounts; whoever was killed a moment ago may still hold it.
fn unmount(at: &Path) {
    let begun = now();
    while !Command::new("umount").arg(at).output().is_ok_and(|output| output.status.success()) {
        assert!(now() - begun < LIMIT, "{} stays in use", at.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn run(command: &mut Command) {
    let output = process::output(command, LIMIT);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
