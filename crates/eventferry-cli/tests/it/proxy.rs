//! A way to a server that can be frozen, or opened late.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Carries bytes to and from a server, unless it is frozen.
pub(crate) struct Proxy {
    pub(crate) address: String,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    frozen: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    fn pass(&self) {
        let frozen = self.frozen.lock().unwrap();
        drop(self.moved.wait_while(frozen, |frozen| *frozen).unwrap());
    }
}

impl Proxy {
    /// A way to this server, at a port of its own.
    pub(crate) fn to(server: &str) -> Self {
        Self::at("127.0.0.1:0", server)
    }

    /// A way to this server, at this address.
    pub(crate) fn at(address: &str, server: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let gate = Arc::<Gate>::default();
        let (server, shared) = (server.to_owned(), Arc::clone(&gate));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                carry(client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&shared));
                carry(server, client, Arc::clone(&shared));
            }
        });
        Self { address, gate }
    }

    /// Lets nothing through any more.
    pub(crate) fn freeze(&self) {
        *self.gate.frozen.lock().unwrap() = true;
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, gate: Arc<Gate>) {
    thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        loop {
            let read = from.read(&mut bytes).unwrap_or(0);
            gate.pass();
            if read == 0 || to.write_all(&bytes[..read]).is_err() {
                // One way ended, so does the other.
                drop(to.shutdown(std::net::Shutdown::Both));
                drop(from.shutdown(std::net::Shutdown::Both));
                return;
            }
        }
    });
}

/// An address where nothing listens.
pub(crate) fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
