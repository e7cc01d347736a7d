//! /livez and /readyz.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::ending::Trouble;
use crate::place::PublisherPlace;
use crate::readiness::Readiness;
use crate::settings::Given;

/// An address that is listened on.
#[derive(Debug)]
pub(crate) struct Health {
    listener: TcpListener,
    /// Where, the port chosen by the system included.
    pub(crate) address: SocketAddr,
}

impl Health {
    /// Listens on an address such as `127.0.0.1:8080`, or `[::]:8080` for all.
    ///
    /// # Errors
    /// It is no address, or cannot be had: the message says why.
    pub(crate) async fn listen(given: &Given) -> Result<Self, Trouble> {
        let wanted: SocketAddr = given.parse(|text| {
            text.parse().map_err(|_| {
                format!(
                    "`{text}` is not an address; give an IP and a port, as in 127.0.0.1:8080 or [::]:8080"
                )
            })
        })?;
        let bound = TcpListener::bind(wanted).await;
        let listener = given.parse(|_| {
            bound.map_err(|error| {
                let remedy = match error.kind() {
                    std::io::ErrorKind::AddrInUse => "another program listens there; choose another port",
                    std::io::ErrorKind::PermissionDenied => "choose a port over 1023, or give the privilege",
                    _ => "choose an address of this host",
                };
                format!("cannot listen on {wanted}: {error}: {remedy}")
            })
        })?;
        let address = listener.local_addr().map_err(Trouble::bug)?;
        Ok(Self { listener, address })
    }

    /// Answers until it is dropped: /livez always with 200, /readyz with 200, or 503 and what is in the way; and with a
    /// line for each cluster where there are several, and for each broker that is not well.
    pub(crate) async fn serve(self, readiness: Readiness, publisher: PublisherPlace) {
        let ready = move || async move {
            let (status, first, mut lines) = match readiness.check() {
                Ok(lines) => (StatusCode::OK, "ready", lines),
                Err(lines) => (StatusCode::SERVICE_UNAVAILABLE, "not ready", lines),
            };
            lines.extend(publisher.troubles());
            (status, lines.iter().fold(format!("{first}\n"), |text, line| text + line + "\n"))
        };
        let routes = Router::new().route("/livez", get(|| async { "alive\n" })).route("/readyz", get(ready));
        if let Err(error) = axum::serve(self.listener, routes).await {
            tracing::warn!(%error, "/livez and /readyz are not served any more");
        }
    }
}
