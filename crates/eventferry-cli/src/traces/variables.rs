//! OpenTelemetry's variables, as far as this program and not its SDK acts on them.
//!
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>. An empty variable counts as none. The SDK itself reads
//! `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES` and limits; the exporter reads
//! `OTEL_EXPORTER_OTLP_HEADERS`.

use std::time::Duration;

use crate::ending::Trouble;

/// How long a request may take unless a variable says otherwise.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// A collector, and what else the variables say.
#[derive(Debug)]
pub(crate) struct Variables {
    endpoint: String,
    timeout: Duration,
    certificate: Option<(&'static str, String)>,
    service_name: bool,
    resource_attributes: String,
}

impl Variables {
    /// What the variables say; `None`: nothing is exported.
    ///
    /// # Errors
    /// One asks for what cannot be.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Trouble> {
        let find = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| find(name).map(|value| (name, value.trim().to_owned())))
        };
        let endpoint = first(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
        let Some((name, endpoint)) = endpoint else { return Ok(None) };
        if find("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match find("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(_) => return Err(cannot("OTEL_TRACES_EXPORTER", "spans go by otlp; give otlp or none")),
        }
        if let Some((name, protocol)) =
            first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])
            && protocol != "http/protobuf"
        {
            let says =
                "this program speaks http/protobuf: give that, and the collector's port for it (often 4318)";
            return Err(cannot(name, says));
        }
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(cannot(name, "it is no URL; give http://host:4318"));
        }
        let timeout = first(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
        let timeout = timeout.map(|(name, millis)| match millis.parse() {
            Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
            _ => Err(cannot(name, "give milliseconds, such as 10000")),
        });
        let endpoint = match name {
            // The variable of one signal is taken as it is.
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => endpoint,
            _ => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        };
        Ok(Some(Self {
            endpoint,
            timeout: timeout.transpose()?.unwrap_or(TIMEOUT_DEFAULT),
            certificate: first(["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]),
            service_name: find("OTEL_SERVICE_NAME").is_some(),
            resource_attributes: find("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default(),
        }))
    }

    /// Where requests go.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The same for people, without what may be a secret: a login before the host, and what follows it.
    pub(crate) fn shown(&self) -> &str {
        let (_, rest) = self.endpoint.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }

    /// How long a request may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The variable and the file that say who may have signed the collector's certificate; `None`: whom the system
    /// trusts.
    pub(crate) fn certificate(&self) -> Option<(&'static str, &str)> {
        self.certificate.as_ref().map(|(name, path)| (*name, path.as_str()))
    }

    /// Whether the variables name the service.
    pub(crate) fn names_service(&self) -> bool {
        self.service_name || self.names("service.name")
    }

    /// Whether `OTEL_RESOURCE_ATTRIBUTES` names this attribute.
    pub(crate) fn names(&self, attribute: &str) -> bool {
        let mut names = self.resource_attributes.split(',').filter_map(|pair| pair.split('=').next());
        names.any(|name| name.trim() == attribute)
    }
}

fn cannot(name: &str, says: &str) -> Trouble {
    Trouble::usage(format!("{name}: {says}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Variables>, String> {
        let find = |name: &str| {
            let found = variables.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Variables::read(find).map_err(|trouble| trouble.message)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("OTEL_SERVICE_NAME", "relay")]).unwrap().is_none());
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none());
        assert!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap().is_none());
        assert!(read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        let variables = read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]).unwrap().unwrap();
        assert_eq!(variables.endpoint(), "http://collector:4318/v1/traces");
    }

    #[test]
    fn the_variable_of_traces_goes_before_that_of_all_signals_and_is_taken_as_it_is() {
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://key:secret@other/x");
        let variables = read(&[ENDPOINT, of_traces, ("OTEL_EXPORTER_OTLP_TIMEOUT", "250")]).unwrap().unwrap();
        assert_eq!(variables.endpoint(), "https://key:secret@other/x");
        assert_eq!(variables.shown(), "other");
        assert_eq!(variables.timeout(), Duration::from_millis(250));
    }

    #[test]
    fn what_cannot_be_is_named_and_shows_no_value() {
        for (name, value, says) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "sesame:4317", "no URL"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "milliseconds"),
            ("OTEL_TRACES_EXPORTER", "console", "otlp or none"),
        ] {
            let refused = read(&[ENDPOINT, (name, value)]).unwrap_err();
            assert!(refused.starts_with(name) && refused.contains(says), "{refused}");
            assert!(!refused.contains("sesame"), "{refused}");
        }
    }

    #[test]
    fn a_service_may_be_named_by_either_variable() {
        assert!(!read(&[ENDPOINT]).unwrap().unwrap().names_service());
        assert!(read(&[ENDPOINT, ("OTEL_SERVICE_NAME", "x")]).unwrap().unwrap().names_service());
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "a=1, service.name=x");
        assert!(read(&[ENDPOINT, attributes]).unwrap().unwrap().names_service());
    }
}
