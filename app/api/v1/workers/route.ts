import { routes } from "#lib/api/routes.ts";

export const { GET, POST, PUT, PATCH, DELETE } = routes("/workers");
