//! Transcripts of the state machine.
