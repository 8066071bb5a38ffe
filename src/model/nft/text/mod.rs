//! The language of `nft(8)`.
