# The image of gavel: two static binaries and nothing else. No shell, no user but 65532, nothing that
# is written to; certificate authorities are compiled in (more by `network.ca_file`).
#
#   buildah bud --isolation chroot --target image .
#
# builds from source, trained by a run on loopback (.ci/dist); RUST names an image with cargo 1.90 or newer
# and its rustup, a C compiler and a static libc (glibc's, as Debian's libc6-dev has it). Where no such image
# can be had, build the binaries and
#
#   RUSTFLAGS="-C target-feature=+crt-static" .ci/dist target/trained
#   buildah bud --isolation chroot --target prebuilt target/trained
#
# with `-f Dockerfile` takes them from the folder that is named.
ARG RUST=rust:1.90-bookworm

FROM ${RUST} AS build
ARG TARGET=x86_64-unknown-linux-gnu
WORKDIR /src
COPY . .
RUN rustup component add llvm-tools \
    && TARGET=${TARGET} RUSTFLAGS="-C target-feature=+crt-static" .ci/dist /out

FROM scratch AS prebuilt
COPY --chown=0:0 --chmod=0555 gavel gavel-replay /
USER 65532:65532
# 8080 partners, 9090 operations; the admin listener stays on loopback
EXPOSE 8080/tcp 9090/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/gavel"]
CMD ["serve", "--config", "/etc/gavel/settings/gavel.toml"]

FROM scratch AS image
COPY --from=build --chown=0:0 --chmod=0555 /out/gavel /out/gavel-replay /
USER 65532:65532
EXPOSE 8080/tcp 9090/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/gavel"]
CMD ["serve", "--config", "/etc/gavel/settings/gavel.toml"]
