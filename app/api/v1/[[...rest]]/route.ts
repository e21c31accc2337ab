import { unknownRoutes } from "#lib/api/routes.ts";

export const { GET, POST, PUT, PATCH, DELETE } = unknownRoutes();
