/** The names of secrets are those of environment variables, so that every store there may be can hold them. */
export const SECRET_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

export const SECRET_NAME_RULE =
  "a secret's name has 1 to 128 of A-Z, a-z, 0-9 and _, and does not start with a digit, like WAREHOUSE_URL";
