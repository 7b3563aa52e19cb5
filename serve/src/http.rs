//! The HTTP server: requests answered by the same engine, and paths to monitor the service.
//!
//! | path | |
//! |---|---|
//! | `POST /v1/score`, `/v1/recommend`, `/v1/similar`, `/v1/event` | a request of that type; the schemas are those of [`crate::message`] |
//! | `GET /health/live`, `/health/ready` | whether it runs; whether it can work, 503 with reasons if not |
//! | `GET /metrics` | OpenMetrics text |
//! | `GET /flow`, `/` | the flow as it runs, as JSON and as a page |
//! | `POST /-/reload` | looks for new models at once |

pub(crate) mod access;
mod answer;
pub mod bearer;
mod certificate;
pub(crate) mod guard;
mod listener;
mod oidc;
pub(crate) mod page;
pub(crate) mod reply;
mod server;
pub(crate) mod tenants;
mod tls;
pub mod tokens;
pub(crate) mod watch;
#[cfg(feature = "kafka")]
mod write;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use crate::Kind;
use crate::config::{Role, ServeConfig};
use crate::control::Control;
use crate::engine::Engine;
use crate::health::Health;
#[cfg(feature = "kafka")]
use crate::kafka::EventWriter;
use crate::metrics::Metrics;

use guard::Record;

pub use listener::Listening;
pub use server::{Server, Serving};

/// What the handlers share.
pub struct App {
    /// The engine that answers.
    pub engine: Arc<Engine>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the service can work.
    pub health: Arc<Health>,
    /// Writes events to Kafka, where there is one.
    #[cfg(feature = "kafka")]
    pub writer: Option<EventWriter>,
    /// A permit for each request that may be scored at once.
    pub scoring: Arc<Semaphore>,
    /// Who is let in.
    pub(crate) access: access::Access,
    /// Who is let in by the listener by which it is controlled.
    pub(crate) control_access: Option<Arc<access::Access>>,
    /// The versions of the config, where it is controlled.
    pub control: Option<Arc<Control>>,
    /// The config.
    pub config: ServeConfig,
    /// When the server started.
    pub since: Instant,
}

/// Returns the paths.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/score", post(|state, sender, body| answer::answer(state, sender, Kind::Score, body)))
        .route(
            "/v1/recommend",
            post(|state, sender, body| answer::answer(state, sender, Kind::Recommend, body)),
        )
        .route("/v1/similar", post(|state, sender, body| answer::answer(state, sender, Kind::Similar, body)))
        .route("/v1/event", post(answer::event))
        .route("/metrics", get(watch::metrics))
        .route("/flow", get(watch::flow))
        .route("/health/ready", get(watch::ready))
        .route("/-/reload", post(watch::reload))
        .route_layer(from_fn_with_state(Arc::clone(&app), guard))
        .route("/health/live", get(|| async { "live\n" }))
        .merge(page::routes())
        .fallback(reply::no_path)
        .method_not_allowed_fallback(reply::other_method)
        .with_state(app)
}

/// The paths that monitoring polls, whose requests are therefore not counted.
const WATCHING: [&str; 3] = ["/metrics", "/flow", "/health/ready"];

/// Refuses a request that is not let in, and counts requests.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    // The path is one of the routes above, so that there are few labels.
    let path = request.uri().path().to_owned();
    let asked = match path.as_str() {
        path if path.starts_with("/v1/") => Role::Score,
        "/-/reload" => Role::Operate,
        _ => Role::Observe,
    };
    // What is asked for by `operate` alone changes something.
    let audit = app.control.as_ref().filter(|_| asked == Role::Operate).map(|control| &control.audit);
    let record =
        audit.map(|audit| Record { audit: Arc::clone(audit), changes: true, is_quiet: false, query: None });
    let (by, response) = guard::pass(&app.access, asked, record, request, next).await;
    if !WATCHING.contains(&path.as_str()) {
        app.metrics.http(&path, response.status().as_u16(), start.elapsed());
        if let Some(by) = by {
            let (kind, name, status) = (by.kind.name(), &by.name, response.status().as_u16());
            app.metrics.callers.called(kind, name);
            if asked == Role::Operate && app.control.is_none() {
                tracing::info!(by = name, kind, status, path, "called");
            }
        }
    }
    response
}
