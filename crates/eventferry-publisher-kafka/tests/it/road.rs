//! A road to a real broker that can be frozen, as a broker freezes: what was sent before lies in buffers and is read
//! when it wakes, also if the client has hung up meanwhile.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Carries requests and answers, unless it is frozen. Brokers say where they are: their port is replaced by this one.
pub(crate) struct Road {
    pub(crate) address: String,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    frozen: Mutex<bool>,
    moved: Condvar,
    /// How many bytes of requests came by.
    sent: AtomicU64,
}

impl Gate {
    fn pass(&self) {
        let frozen = self.frozen.lock().unwrap();
        drop(self.moved.wait_while(frozen, |frozen| *frozen).unwrap());
    }
}

/// A broker's address as its answers hold it: the host and, after it, the port.
fn place(address: &str) -> Vec<u8> {
    let (host, port) = address.rsplit_once(':').unwrap();
    [host.as_bytes(), &port.parse::<u32>().unwrap().to_be_bytes()].concat()
}

impl Road {
    /// A road to the broker at this address, which is the only one of its cluster.
    pub(crate) fn to(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let gate = Arc::<Gate>::default();
        let (theirs, ours) = (place(broker), place(&address));
        assert_eq!(theirs.len(), ours.len(), "{broker} and {address}");
        let (broker, shared) = (broker.to_owned(), Arc::clone(&gate));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&broker) else { continue };
                let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let count = Arc::clone(&shared);
                let count = move |frame: &mut [u8]| {
                    count.sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
                };
                thread::spawn(move || carry(from, to, &up, count));
                let (theirs, ours) = (theirs.clone(), ours.clone());
                thread::spawn(move || carry(server, client, &down, |frame| replace(frame, &theirs, &ours)));
            }
        });
        Self { address, gate }
    }

    /// How many bytes of requests were carried.
    pub(crate) fn sent(&self) -> u64 {
        self.gate.sent.load(Ordering::Relaxed)
    }

    /// Lets nothing through any more.
    pub(crate) fn freeze(&self) {
        *self.gate.frozen.lock().unwrap() = true;
    }

    /// Lets everything through again, what waited first.
    pub(crate) fn thaw(&self) {
        *self.gate.frozen.lock().unwrap() = false;
        self.gate.moved.notify_all();
    }
}

/// Carries frame by frame: a length in four bytes, and what it counts.
fn carry(mut from: TcpStream, mut to: TcpStream, gate: &Gate, change: impl Fn(&mut [u8])) {
    let mut frame = || {
        let mut length = [0; 4];
        from.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut frame).ok()?;
        change(&mut frame);
        gate.pass();
        to.write_all(&length).and_then(|()| to.write_all(&frame)).ok()
    };
    while frame().is_some() {}
    gate.pass();
    drop(to.shutdown(Shutdown::Both));
}

fn replace(frame: &mut [u8], theirs: &[u8], ours: &[u8]) {
    for at in 0..frame.len().saturating_sub(theirs.len() - 1) {
        if frame[at..].starts_with(theirs) {
            frame[at..at + ours.len()].copy_from_slice(ours);
        }
    }
}
