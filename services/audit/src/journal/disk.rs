//! What a journal and its side files ask of a disk. A trait, so that tests can pause, fail and fill it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What the journal's threads do to segment files, and to folders.
pub(crate) trait Disk: std::fmt::Debug + Send + Sync {
    /// Writes all bytes at an offset.
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable (`fdatasync`).
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Reserves space from the beginning of a file, where the file system can.
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

/// The operating system's disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Reserved blocks also make `fdatasync` a quarter faster: the file's size no longer changes (ext4, measured).
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            // Such a file system grows the file as it is written; a full disk then ends the journal.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            reserved => Ok(reserved?),
        }
    }
}
