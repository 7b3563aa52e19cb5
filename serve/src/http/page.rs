//! The page at `/`, whose files are part of the program. They hold nothing of the service, so that nobody needs a token for them.

use axum::Router;
use axum::http::header;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Paths, types and contents.
const FILES: [(&str, &str, &str); 8] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.js", SCRIPT, include_str!("page/page.js")),
    ("/ask.js", SCRIPT, include_str!("page/ask.js")),
    ("/control.js", SCRIPT, include_str!("page/control.js")),
    ("/draw.js", SCRIPT, include_str!("page/draw.js")),
    ("/events.js", SCRIPT, include_str!("page/events.js")),
    ("/flow.js", SCRIPT, include_str!("page/flow.js")),
];

/// What a browser lets the page do: nothing but its own files and its own service, in no frame of another page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Returns the paths of the page.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        let headers = [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        router.route(path, get(move || async move { (headers, text) }))
    })
}
