//! A build without TLS.

use eventferry_core::StoreFault;
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;

use super::Tls;
use crate::tail::Socket;

pub(super) const HAS_TLS: bool = false;

/// How the driver makes its connections safe.
pub(crate) type Connector = NoTls;

impl Tls {
    /// Of these options, for one connection.
    ///
    /// # Errors
    /// None.
    pub(crate) fn connector(&self) -> Result<Connector, StoreFault> {
        Ok(NoTls)
    }
}

/// Makes a connection of our own safe, as it is wanted: not at all.
pub(crate) async fn secure(socket: Socket, _: &str, _: SslMode, _: &Connector) -> std::io::Result<Socket> {
    Ok(socket)
}
