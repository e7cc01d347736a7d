//! What is written for a struct that is an event.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{DeriveInput, Expr, Field, Path};

use crate::attributes::EventStruct;

/// The implementations of `TypedEvent` and `IntoEvent`.
pub(crate) fn of(input: &DeriveInput, event: &EventStruct<'_>) -> TokenStream {
    let EventStruct { name, topic, aggregate, version, at, .. } = event;
    let ident = &input.ident;
    let (parameters, arguments, bounds) = input.generics.split_for_impl();
    let content_type = event.content_type.iter().map(|content_type| {
        quote! { const CONTENT_TYPE: &'static str = #content_type; }
    });
    let avro = constant("AVRO", event.avro.as_ref());
    let protobuf = constant("PROTOBUF", event.protobuf.as_ref());
    let aggregate_id = as_text(at, event.aggregate_id, "aggregate_id_as_text");
    let key = event.key.map(|field| {
        let text = as_text(at, field, "key_as_text");
        quote! {
            fn key(&self) -> ::core::option::Option<::std::vec::Vec<u8>> {
                ::core::option::Option::Some(#text.into_bytes())
            }
        }
    });
    let schema = event.schema.map(|span| schema(at, span));
    let of_reference = into_event(at, &quote! { self });
    let of_value = into_event(at, &quote! { &self });
    quote! {
        #[automatically_derived]
        impl #parameters #at::TypedEvent for #ident #arguments #bounds {
            const NAME: &'static str = #name;
            const TOPIC: &'static str = #topic;
            const VERSION: u32 = #version;
            const AGGREGATE: &'static str = #aggregate;
            #(#content_type)*
            #avro
            #protobuf

            fn aggregate_id(&self) -> ::std::string::String {
                #aggregate_id
            }

            #key
            #schema
        }

        #[automatically_derived]
        impl #parameters #at::hidden::IntoEvent for &#ident #arguments #bounds {
            #of_reference
        }

        #[automatically_derived]
        impl #parameters #at::hidden::IntoEvent for #ident #arguments #bounds {
            #of_value
        }
    }
}

/// The text of a schema, if there is one.
fn constant(name: &str, text: Option<&Expr>) -> Option<TokenStream> {
    let name = syn::Ident::new(name, Span::call_site());
    text.map(|text| {
        quote! {
            const #name: ::core::option::Option<&'static str> = ::core::option::Option::Some(#text);
        }
    })
}

/// A field's text. Spanned like its type, so that a type without one is underlined.
fn as_text(at: &Path, field: &Field, how: &str) -> TokenStream {
    let how = syn::Ident::new(how, Span::call_site());
    let ident = &field.ident;
    // Underlined there, and resolved here: a type may come from the caller of a macro, which knows no `self`.
    let span = field.ty.span().resolved_at(Span::call_site());
    quote_spanned! { span => #at::hidden::#how(&self.#ident) }
}

/// The JSON Schema. Spanned like the word that asks for it.
fn schema(at: &Path, span: Span) -> TokenStream {
    let of = quote_spanned! { span => #at::hidden::schema_of::<Self>() };
    quote! {
        fn json_schema() -> ::core::option::Option<#at::hidden::Value> {
            ::core::option::Option::Some(#of)
        }
    }
}

fn into_event(at: &Path, event: &TokenStream) -> TokenStream {
    quote! {
        fn into_event(self) -> ::core::result::Result<#at::hidden::Event, #at::hidden::EnqueueFault> {
            #at::TypedEvent::to_event(#event)
        }
    }
}
