//! InfiniBand formats: headers, management datagrams, attributes and CRCs, as bytes and as types.
#![no_std]
