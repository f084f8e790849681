//! Ports on loopback for the roles of one mesh.
//!
//! They are chosen before the roles start, so between choice and use somebody else might take one. Against outgoing
//! connections, they lie below the ports that the system gives to those; against another mesh that starts at the same
//! time, each takes a block of its own by locking a file, for as long as it lives.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use anyhow::{Context, Result};

/// The first port of the first block.
const FIRST_PORT: u16 = 20_000;

/// Ports of a block.
const BLOCK_PORTS: u16 = 64;

/// Blocks; they end below 32768, where Linux begins to give ports to outgoing connections.
const BLOCKS: u16 = 190;

/// Ports that were free a moment ago.
pub struct Ports {
    free: Vec<SocketAddr>,
    /// The lock on their block; `None` where no block could be had.
    _block: Option<File>,
}

impl Ports {
    /// Finds as many.
    pub fn reserve(count: usize) -> Result<Self> {
        let folder = env::temp_dir().join("lienthong-ports");
        if fs::create_dir_all(&folder).is_ok()
            && let Some(ports) = (0..BLOCKS).find_map(|block| Self::of_block(&folder, block, count))
        {
            return Ok(ports);
        }
        // More than a block holds, or no folder for locks: the system chooses. All are held until the last was
        // found, so that none is given twice.
        let held = (0..count)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<std::io::Result<Vec<_>>>()
            .context("no free port on loopback")?;
        let free = held.iter().map(TcpListener::local_addr).collect::<std::io::Result<_>>()?;
        Ok(Self { free, _block: None })
    }

    /// The next one.
    pub fn take(&mut self) -> Result<SocketAddr> {
        self.free.pop().context("the mesh needs more ports than it reserved")
    }

    /// The ports of a block that nobody listens on; `None` where the block is taken, or has too few.
    fn of_block(folder: &Path, block: u16, count: usize) -> Option<Self> {
        let file = File::create(folder.join(block.to_string())).ok()?;
        file.try_lock().ok()?;
        let first = FIRST_PORT + block * BLOCK_PORTS;
        let all = (first..first + BLOCK_PORTS).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let free: Vec<_> = all.filter(|address| TcpListener::bind(address).is_ok()).collect();
        (free.len() >= count).then_some(Self { free, _block: Some(file) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_meshes_never_share_a_port() {
        let (mut one, mut two) = (Ports::reserve(20).unwrap(), Ports::reserve(20).unwrap());
        let ports = |ports: &mut Ports| (0..20).map(|_| ports.take().unwrap()).collect::<Vec<_>>();
        let (one, two) = (ports(&mut one), ports(&mut two));
        assert!(one.iter().all(|port| !two.contains(port)), "{one:?} {two:?}");
        assert!(Ports::reserve(200).is_ok(), "more than a block holds");
    }
}
