# One image for every role: `docker run … web`, `scheduler`, `worker` or `migrate`.
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS base
WORKDIR /srv/sluice
ENV NEXT_TELEMETRY_DISABLED=1 CHECKPOINT_DISABLE=1

FROM base AS deps
COPY package.json package-lock.json ./
RUN npm ci --omit=optional --ignore-scripts --no-audit --no-fund

FROM deps AS build
COPY . .
# Prisma wants a schema engine at hand and would download one; `generate` never runs it, so any program will do.
RUN PRISMA_SCHEMA_ENGINE_BINARY="$(command -v node)" node prisma/generate.mjs
# Builds with Next and puts .next/static and public where the standalone server looks for them.
RUN node worker/standalone/build-web.ts

FROM base AS production-deps
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund && npm cache clean --force

FROM base AS runtime
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 SLUICE_HEALTH_PORT=8081 SLUICE_DAGS_DIR=/srv/sluice/dags SLUICE_HOME=/var/lib/sluice
ENV NODE_COMPILE_CACHE=/var/lib/sluice/compile-cache
# Tasks run with bash, which the base image has. Start it with an init (`docker run --init`): tasks leave orphans behind.
# The users of tasks pass through the home to their own folders below it.
RUN groupadd --system --gid 10001 sluice \
  && useradd --system --uid 10001 --gid sluice --home-dir /var/lib/sluice --create-home --shell /usr/sbin/nologin sluice \
  && chmod 711 /var/lib/sluice
COPY --from=production-deps /srv/sluice/node_modules ./node_modules
COPY --from=build /srv/sluice/.next/standalone ./.next/standalone
COPY --from=build /srv/sluice/lib ./lib
COPY package.json LICENSE ./
COPY cli ./cli
COPY worker ./worker
COPY prisma ./prisma
COPY dags ./dags
# Web and migration need nothing of root. A worker that keeps tasks apart does, and a scheduler DAG files: docker-compose.yml.
USER 10001:10001
EXPOSE 8080 8081
ENTRYPOINT ["node", "cli/sluice.mjs"]
CMD ["--help"]
