//! Options by builder, for all crates: fields that can be read, and setters that take and return
//! the options.

/// Declares a struct of options, to which fields can be added without breaking callers: each field
/// with its default, and fields without one in `new { … }`, for `new` to take.
#[doc(hidden)]
#[macro_export]
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct $name:ident $(<$life:lifetime>)? {
            new { $($(#[$new_meta:meta])* pub $new:ident: $new_type:ty,)+ }
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[non_exhaustive]
        pub struct $name $(<$life>)? {
            $($(#[$new_meta])* pub $new: $new_type,)+
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $(<$life>)? $name $(<$life>)? {
            /// Options with these values, and defaults for all others.
            pub fn new($($new: $new_type),+) -> Self {
                Self { $($new,)+ $($field: $default,)* }
            }
        }

        $crate::options! {
            @setters $name $(<$life>)? { $($new: $new_type,)+ $($field: $type,)* }
        }
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty = $default:expr,)+
        }
    ) => {
        $(#[$meta])*
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        $crate::options! { @setters $name { $($field: $type,)+ } }
    };
    (@setters $name:ident $(<$life:lifetime>)? { $($field:ident: $type:ty,)+ }) => {
        impl $(<$life>)? $name $(<$life>)? {
            $(
                #[doc = concat!(
                    "Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").",
                )]
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}
