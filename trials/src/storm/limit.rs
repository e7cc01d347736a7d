//! No scene goes on for ever: past its limit it ends, and says where it was.

use std::future::Future;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::database::connect;
use crate::failure::{Failure, failure};

/// How long a scene may take beside the time that was asked for. The slowest take four minutes on two busy cores.
pub(super) const SCENE_MAX: Duration = Duration::from_secs(600);

/// How long what a scene started may take to end, once it was given up.
const LETTING_GO_MAX: Duration = Duration::from_secs(60);

/// How long a database may take to say what it waits for.
const SAYING_MAX: Duration = Duration::from_secs(5);

/// Where a scene is, for whoever asks why it does not end.
#[derive(Clone, Debug, Default)]
pub(super) struct Whereabouts(Arc<Mutex<At>>);

#[derive(Clone, Debug, Default)]
struct At {
    step: String,
    database: Option<String>,
}

impl Whereabouts {
    /// The scene begins something.
    pub(super) fn at(&self, step: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).step = step.into();
    }

    /// The URL of the database that can be asked what it waits for.
    pub(super) fn database(&self, url: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).database = Some(url);
    }

    fn get(&self) -> At {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Plays a scene to its end, or to this limit.
pub(super) async fn within<T>(
    limit: Duration,
    whereabouts: &Whereabouts,
    scene: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    // Where a thread of the scene's stands still, no timer of the runtime's is heard.
    let _last_resort = last_resort(limit + LETTING_GO_MAX, whereabouts.clone());
    tokio::pin!(scene);
    if let Ok(ended) = tokio::time::timeout(limit, &mut scene).await {
        return ended;
    }
    let At { step, database } = whereabouts.get();
    let sessions = match database {
        Some(url) => tokio::time::timeout(SAYING_MAX, sessions(&url)).await,
        None => Ok(Ok(Vec::new())),
    };
    let sessions = match sessions {
        Ok(Ok(sessions)) => sessions.join(""),
        Ok(Err(failure)) => format!("\n    the database does not say more: {failure}"),
        Err(_) => "\n    the database does not answer".to_owned(),
    };
    Err(failure(format!("it did not end within {limit:?}; it was at: {step}{sessions}")))
}

/// What each session of the server does.
async fn sessions(url: &str) -> Result<Vec<String>, Failure> {
    const QUERY: &str = "
        SELECT format(E'\\n    %s %s: %s, %s %s: %s', application_name, pid, state, wait_event_type, wait_event,
                      left(query, 100))
        FROM pg_stat_activity
        WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()
        UNION ALL
        SELECT format(E'\\n    prepared: %s', gid) FROM pg_prepared_xacts";
    let rows = connect(url).await?.query(QUERY, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Ends this program, and what it started, unless what is returned is dropped in time.
fn last_resort(limit: Duration, whereabouts: Whereabouts) -> Sender<()> {
    let (ended, end) = channel();
    std::thread::spawn(move || {
        if end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("storm: nothing moves after {limit:?}; it was at: {}", whereabouts.get().step);
            Command::new("pkill").args(["-KILL", "-P", &std::process::id().to_string()]).status().ok();
            std::process::exit(1);
        }
    });
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scene_that_does_not_end_says_where_it_was() {
        let whereabouts = Whereabouts::default();
        whereabouts.at("waiting for a standby");
        let never = std::future::pending::<Result<(), Failure>>();
        let ended = within(Duration::from_millis(1), &whereabouts, never).await;
        let said = ended.unwrap_err().to_string();
        assert_eq!(said, "it did not end within 1ms; it was at: waiting for a standby");
    }

    #[tokio::test]
    async fn a_scene_that_ends_is_let_be() {
        let ended = within(SCENE_MAX, &Whereabouts::default(), async { Ok(1) }).await;
        assert_eq!(ended.unwrap(), 1);
    }
}
