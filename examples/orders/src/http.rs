//! Orders over HTTP.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::orders::{NewOrder, Orders};

/// `POST /orders` and `GET /orders/{id}`.
pub(crate) fn router(orders: Orders) -> Router {
    Router::new().route("/orders", post(place)).route("/orders/{id}", get(find)).with_state(orders)
}

async fn place(State(orders): State<Orders>, Json(new): Json<NewOrder>) -> Response {
    if new.customer.is_empty() || new.total < 0 {
        let what = "give a customer, and a total of 0 or more\n";
        return (StatusCode::UNPROCESSABLE_ENTITY, what).into_response();
    }
    match orders.place(&new).await {
        Ok(order) => {
            let location = [(header::LOCATION, format!("/orders/{}", order.id))];
            (StatusCode::CREATED, location, Json(order)).into_response()
        }
        Err(failure) => unavailable(failure.as_ref()),
    }
}

async fn find(State(orders): State<Orders>, Path(id): Path<i64>) -> Response {
    match orders.find(id).await {
        Ok(Some(order)) => Json(order).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(failure) => unavailable(failure.as_ref()),
    }
}

/// What went wrong is for the operator's eyes.
fn unavailable(failure: &(dyn std::error::Error + 'static)) -> Response {
    eprintln!("a request failed: {failure}");
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}
