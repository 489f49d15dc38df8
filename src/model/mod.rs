//! What the platform is about, as values: names, ids, states. No I/O and no async; everything else imports this.

mod causes;
mod commit;
mod fingerprint;
mod https_host;
mod image;
mod names;
mod quantity;
mod quota;
mod release;
mod role;
mod secret;
mod token;

pub use causes::in_full;
pub use commit::{CommitId, InvalidCommitId};
pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use https_host::{HttpsHost, InvalidHttpsHost};
pub use image::{Digest, ImageId, ImageRef, InvalidImage};
pub use names::{AppName, InvalidName, MAX_NAME_BYTES, ProcessType, TenantName, UserName};
pub use quantity::{ByteSize, InvalidByteSize, InvalidPeriod, Period};
pub use quota::{Cpus, Demand, InUse, InvalidCpus, Limit, OverQuota, Quota, QuotaChange, Share};
pub use release::{InvalidReleaseNumber, ReleaseNumber};
pub use role::{InvalidRole, Role};
pub use secret::Secret;
pub(crate) use token::is_lower_hex;
pub use token::{InvalidTokenId, TOKEN_CHECKSUM_CHARS, TOKEN_RANDOM_CHARS, TokenId, TokenPurpose, without_tokens};
